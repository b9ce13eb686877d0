/* SPDX-License-Identifier: MIT */
/*
 * Manual pages and completions of texts that the present tables do not have: what roff and shells would take for their
 * own words comes out as it is. What the tables do have is tested by tests/manuals/.
 */
#include "cli/completion.h"
#include "cli/help.h"
#include "cli/manual.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- A command as there is none -------------------------------------------------------------- */

static const struct option options[] = {
    {"odd", 'o', "SEL", "it's [a] 'word' with \\ and $(x): repeatable"},
    {NULL, 0, NULL, NULL},
};
static const struct command odd = {
    .name = "odd",
    .summary = "what's odd",
    .arguments = "[FILE]...",
    .description = "See `vram even`.",
    .options = options,
    .words_max = 2,
};
static const struct command even = {
    .name = "even", .arguments = "SIZE -- COMMAND...", .summary = ""};
const struct command *const commands[] = {&odd, &even, NULL};
const struct option global_options[] = {{NULL, 0, NULL, NULL}};
const char help_program[] = "What?";

const char *vram_version(void)
{
    return "9.8";
}

const struct vram_field *vram_fields(uint32_t object, size_t *ret_count)
{
    static const struct vram_field gpu[] = {
        {"name", "", "", 0}, {"index", "", "", 0}, {"uuid", "", "", 0}};
    static const struct vram_field lease[] = {{"label", "", "", 0}, {"id", "", "", 0}};
    *ret_count = object == VRAM_OBJECT_GPU ? 3 : 2;
    return object == VRAM_OBJECT_GPU ? gpu : lease;
}

/* What the page is told instead of help. */
static void (*tell)(const struct help_form *form, void *page);

void help_tell(const struct help_form *form, void *page, const struct command *command)
{
    (void)command;
    tell(form, page);
}

static char *made(const struct command *command)
{
    struct buf out = BUF_INIT;
    manual_add(&out, command, "May 1, 2026");
    char *text = buf_steal(&out, NULL);
    assert_non_null(text);
    return text;
}

static void assert_has(const char *text, const char *wanted)
{
    if (!strstr(text, wanted)) {
        print_error("there is no\n%s\nin\n%s\n", wanted, text);
        fail();
    }
}

/* ---- Pages ----------------------------------------------------------------------------------- */

static void tell_prose(const struct help_form *form, void *page)
{
    form->usage(page, "[OPTION...] odd [FILE] -- X");
    form->text(
        page,
        ".so /etc/x is no request.\n\n'It' \\fBis\\fR \"prose\", x-ray ~^. Next `vram x-y 'z'` and "
        "--odd-one (-o).\n\nA caf\u00e9 \u2026");
}

static void test_pages__prose_is_prose(void **state)
{
    (void)state;
    tell = tell_prose;
    char *text = made(&odd);
    assert_has(
        text,
        ".Dd May 1, 2026\n.Dt VRAM-ODD 1\n.Os vram 9.8\n.Sh NAME\n.Nm vram-odd\n.Nd what's odd\n");
    assert_has(text, ".Nm vram\n.Oo Ar OPTION... Oc\n.Cm odd\n.Oo Ar FILE Oc\n.Fl \\-\n.Ar X\n");
    assert_has(text,
               "\n\\&.so /etc/x is no request.\n.Pp\n\\&'It' \\efBis\\efR \\(dqprose\\(dq, x-ray "
               "\\(ti\\(ha.\n");
    assert_has(text, "Next \\fBvram x\\-y \\(aqz\\(aq\\fR and \\-\\-odd\\-one (\\-o).\n.Pp\nA "
                     "caf\\[u00E9] \\[u2026]\n");
    free(text);
}

static void tell_lists(const struct help_form *form, void *page)
{
    form->title(page, "Options, new");
    form->item(page, HELP_OPTION, "-o, --odd SEL", "one");
    form->item(page, HELP_OPTION, "--json", "two");
    form->text(page, "Between.");
    form->item(page, HELP_EXAMPLE, "vram odd \"$x\" -n 'y'", "three");
    form->item(page, HELP_STATUS, "...", "four");
}

static void test_pages__lists_end(void **state)
{
    (void)state;
    tell = tell_lists;
    char *text = made(&odd);
    assert_has(
        text,
        ".Sh OPTIONS, NEW\n.Bl -tag -width Ds\n.It Fl o , Fl \\-odd Ar SEL\none\n.It Fl "
        "\\-json\ntwo\n.El\n"
        "Between.\n.Bl -tag -width Ds\n.It Ic \"vram odd \\(dq$x\\(dq \\-n \\(aqy\\(aq\"\nthree\n"
        ".It \"...\"\nfour\n.El\n.Sh SEE ALSO\n");
    free(text);
}

static void test_pages__lead_to_what_they_name(void **state)
{
    (void)state;
    tell = tell_prose;
    char *text = made(&odd);
    assert_has(text, ".Sh SEE ALSO\n.Xr vram 1 ,\n.Xr vram-even 1 ,\n.Xr vramd 8\n");
    free(text);
    text = made(NULL);
    assert_has(text, ".Nm vram\n.Nd what?\n");
    assert_has(text, ".Sh SEE ALSO\n.Xr vram-even 1 ,\n.Xr vram-odd 1 ,\n.Xr libvram 3 ,\n");
    free(text);
}

/* ---- Completions ----------------------------------------------------------------------------- */

static char *table(void (*add)(struct buf *out))
{
    struct buf out = BUF_INIT;
    add(&out);
    char *text = buf_steal(&out, NULL);
    assert_non_null(text);
    return text;
}

static void test_completions__texts_stay_texts(void **state)
{
    (void)state;
    char *text = table(completion_zsh);
    assert_has(text, "'(--odd)-o[it'\\''s \\[a\\] '\\''word'\\'' with \\\\ and $(x): repeatable]");
    assert_has(text, "'(-o)*--odd=[it'\\''s \\[a\\] '\\''word'\\'' with \\\\ and $(x): "
                     "repeatable]:SEL:_vram_gpu'\n");
    assert_has(text, "'odd:what'\\''s odd'\n");
    assert_has(text, "'*:FILE:_vram_file'\n");
    assert_has(text, "'1:SIZE: _vram_name SIZE'\n");
    free(text);
    text = table(completion_fish);
    assert_has(text, " -l odd -s o -x -a '(__vram_gpu)' -d 'it\\'s [a] \\'word\\' with \\\\ and "
                     "$(x): repeatable'\n");
    assert_has(text, "complete -c vram -n '__vram_runs_program even' -a '(__vram_program)'\n");
    free(text);
    text = table(completion_bash);
    assert_has(text,
               "    odd)\n        options='-o --odd:gpu'\n        operands='file'\n        ;;\n"
               "    even)\n        runs=yes\n        ;;\n");
    free(text);
}

static void test_completions__know_where_keys_stand(void **state)
{
    (void)state;
    char *text = table(completion_bash);
    assert_has(text, "gpu_columns=2,3\n    lease_columns=2\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages__prose_is_prose),
        cmocka_unit_test(test_pages__lists_end),
        cmocka_unit_test(test_pages__lead_to_what_they_name),
        cmocka_unit_test(test_completions__texts_stay_texts),
        cmocka_unit_test(test_completions__know_where_keys_stand),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
