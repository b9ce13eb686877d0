/* SPDX-License-Identifier: MIT */
#include "cli/manual.h"

#include "cli/help.h"
#include "cli/text.h"
#include "common/utf8.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

/* Lines of the source, before what is escaped in them makes them longer. */
enum { LINE_WIDTH = 72 };

struct manual {
    struct buf *out;
    const struct command *command; /* NULL: the program */
    const char *date;
    bool in_list;
};

/* ---- Characters ------------------------------------------------------------------------------ */

/* One character of prose, or of what is typed: that is to come out as it is, so that it can be copied. */
static size_t add_char(struct buf *out, const char *text, bool typed)
{
    static const struct {
        char c;
        const char *escaped;
    } everywhere[] = {{'\\', "\\e"},
                      {'"', "\\(dq"},
                      {'^', "\\(ha"},
                      {'~', "\\(ti"},
                      {'`', "\\(ga"}},
      where_typed[] = {{'-', "\\-"}, {'\'', "\\(aq"}};
    uint32_t c;
    size_t length = utf8_next(text, &c);
    for (size_t i = 0; i < ARRAY_LENGTH(everywhere); i++) {
        if (everywhere[i].c == *text) {
            buf_text(out, everywhere[i].escaped);
            return length;
        }
    }
    for (size_t i = 0; typed && i < ARRAY_LENGTH(where_typed); i++) {
        if (where_typed[i].c == *text) {
            buf_text(out, where_typed[i].escaped);
            return length;
        }
    }
    if (c < 0x80) {
        buf_char(out, *text);
    } else {
        buf_format(out, "\\[u%04" PRIX32 "]", c);
    }
    return length;
}

/* What is typed, whole or its first `length` bytes. */
static void add_typed(struct buf *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length && text[i];) {
        i += add_char(out, text + i, true);
    }
}

/* ---- Prose ----------------------------------------------------------------------------------- */

/* One line: `what is typed` is strong, and options can be copied. */
static void add_line(struct buf *out, const char *line, size_t length)
{
    bool quoted = false, option = false;
    if (*line == '.' || *line == '\'') {
        buf_text(out, "\\&"); /* else it were a request */
    }
    for (size_t i = 0; i < length;) {
        if (line[i] == '`') {
            quoted = !quoted;
            buf_text(out, quoted ? "\\fB" : "\\fR");
            i++;
            continue;
        }
        if (i == 0 || strchr(" (", line[i - 1])) {
            option = line[i] == '-';
        }
        i += add_char(out, line + i, quoted || option);
    }
    buf_char(out, '\n');
}

static bool ends_sentence(const char *text)
{
    return strchr(".?!", text[0]) && text[1] == ' ' && isupper((unsigned char)text[2]);
}

/* Every sentence on lines of its own, as roff wants them, for it sets them apart. */
static void add_sentences(struct buf *out, const char *text)
{
    struct buf sentences CLEANUP(buf_done) = BUF_INIT, lines CLEANUP(buf_done) = BUF_INIT;
    for (; *text; text++) {
        buf_char(&sentences, *text);
        if (ends_sentence(text)) {
            buf_char(&sentences, '\n');
            text++;
        }
    }
    text_wrap(&lines, sentences.data ? sentences.data : "", 0, 0, LINE_WIDTH);
    out->failed = out->failed || sentences.failed || lines.failed;
    for (const char *line = lines.data; line && *line;) {
        size_t length = strcspn(line, "\n");
        if (length > 0) {
            add_line(out, line, length);
        } else {
            buf_text(out, ".Pp\n");
        }
        line += length + (line[length] == '\n');
    }
}

/* ---- Command lines --------------------------------------------------------------------------- */

static void add_letters(struct buf *out, const char *text, int (*change)(int))
{
    for (; *text; text++) {
        buf_char(out, (char)change((unsigned char)*text));
    }
}

/* A word of a usage line or of an option: "[COMMAND]", "fit", "--gpu", "SEL", "-h,". */
static void add_usage_word(struct buf *out, const char *word, size_t length)
{
    bool optional = word[0] == '[', listed = word[length - 1] == ',';
    word += optional;
    length -= (optional ? 2U : 0U) + (listed ? 1U : 0U);
    buf_text(out, optional ? "Oo " : "");
    if (word[0] == '-') {
        buf_text(out, "Fl ");
        word++;
        length--;
    } else {
        buf_text(out, islower((unsigned char)word[0]) ? "Cm " : "Ar ");
    }
    add_typed(out, word, length);
    buf_text(out, listed ? " ," : "");
    buf_text(out, optional ? " Oc" : "");
}

/* Words with `between` them; each begins with its macro. */
static void add_usage_words(struct buf *out, const char *words, const char *between)
{
    while (*words) {
        size_t length = strcspn(words, " ");
        add_usage_word(out, words, length);
        words += length;
        if (*words) {
            buf_text(out, between);
            words++;
        }
    }
    buf_char(out, '\n');
}

/* ---- The parts of a page --------------------------------------------------------------------- */

static void end_list(struct manual *manual)
{
    if (manual->in_list) {
        buf_text(manual->out, ".El\n");
        manual->in_list = false;
    }
}

static void add_title(void *data, const char *title)
{
    struct manual *manual = data;
    end_list(manual);
    buf_text(manual->out, ".Sh ");
    add_letters(manual->out, title, toupper);
    buf_char(manual->out, '\n');
}

static void add_name(struct manual *manual)
{
    const struct command *command = manual->command;
    struct buf *out = manual->out;
    buf_format(out, ".\\\" Made from the tables that `vram help %s` is made from.\n",
               command ? command->name : "");
    buf_format(out, ".Dd %s\n.Dt VRAM", manual->date);
    buf_text(out, command ? "-" : "");
    add_letters(out, command ? command->name : "", toupper);
    buf_format(out, " 1\n.Os vram %s\n.Sh NAME\n.Nm vram", vram_version());
    buf_format(out, "%s%s\n.Nd ", command ? "-" : "", command ? command->name : "");
    const char *summary = command ? command->summary : help_program;
    buf_char(out, (char)tolower((unsigned char)*summary));
    add_line(out, summary + 1, strlen(summary + 1));
}

static void add_usage(void *data, const char *words)
{
    struct manual *manual = data;
    add_name(manual);
    buf_text(manual->out, ".Sh SYNOPSIS\n.Nm vram\n.");
    add_usage_words(manual->out, words, "\n.");
    buf_text(manual->out, ".Sh DESCRIPTION\n");
}

static void add_text(void *data, const char *text)
{
    struct manual *manual = data;
    end_list(manual);
    add_sentences(manual->out, text);
}

static void add_item(void *data, enum help_item kind, const char *term, const char *meaning)
{
    struct manual *manual = data;
    struct buf *out = manual->out;
    if (!manual->in_list) {
        buf_format(out, ".Bl -tag -width %s\n", kind == HELP_STATUS ? "1300" : "Ds");
        manual->in_list = true;
    }
    if (kind == HELP_COMMAND || kind == HELP_OPTION) {
        buf_text(out, ".It ");
        add_usage_words(out, term, " ");
    } else {
        static const char *const macros[] = {[HELP_KEY] = "Va ",
                                             [HELP_STATUS] = "",
                                             [HELP_VARIABLE] = "Ev ",
                                             [HELP_EXAMPLE] = "Ic "};
        buf_format(out, ".It %s\"", macros[kind]);
        add_typed(out, term, strlen(term));
        buf_text(out, "\"\n");
    }
    add_sentences(out, meaning);
}

/* ---- The end of a page ----------------------------------------------------------------------- */

/* Whether a page leads to a command: the program's to all, another to those that it names. */
static bool leads_to(const struct command *from, const struct command *to)
{
    static const char before[] = "`vram ";
    if (!from) {
        return true;
    }
    for (const char *at = from->description; from != to && (at = strstr(at, before));) {
        at += sizeof(before) - 1;
        size_t length = strlen(to->name);
        if (strncmp(at, to->name, length) == 0 && !isalpha((unsigned char)at[length])) {
            return true;
        }
    }
    return false;
}

/* The command whose name comes next behind `name`, which NULL stands in front of. */
static const struct command *next_by_name(const char *name)
{
    const struct command *next = NULL;
    for (size_t i = 0; commands[i]; i++) {
        if ((!name || strcmp(commands[i]->name, name) > 0) &&
            (!next || strcmp(commands[i]->name, next->name) < 0)) {
            next = commands[i];
        }
    }
    return next;
}

static void add_references(struct manual *manual)
{
    const struct command *from = manual->command;
    add_title(manual, "See also");
    if (from) {
        buf_text(manual->out, ".Xr vram 1 ,\n");
    }
    for (const struct command *to = next_by_name(NULL); to; to = next_by_name(to->name)) {
        if (leads_to(from, to)) {
            buf_format(manual->out, ".Xr vram-%s 1 ,\n", to->name);
        }
    }
    if (!from) {
        buf_text(manual->out, ".Xr libvram 3 ,\n.Xr vram.conf 5 ,\n");
    }
    buf_text(manual->out, ".Xr vramd 8\n");
}

void manual_add(struct buf *out, const struct command *command, const char *date)
{
    static const struct help_form form = {add_usage, add_text, add_title, add_item};
    struct manual manual = {out, command, date, false};
    help_tell(&form, &manual, command);
    add_references(&manual);
}
