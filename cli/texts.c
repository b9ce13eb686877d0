/* SPDX-License-Identifier: MIT */
/*
 * vram-texts: writes manual pages and completions to stdout while vram is built. It is not installed.
 *
 *     vram-texts man DATE [COMMAND]
 *     vram-texts bash|zsh|fish TEMPLATE
 */
#include "cli/completion.h"
#include "cli/manual.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what, const char *why)
{
    (void)fprintf(stderr, "vram-texts: %s: %s\n", what, why);
    return STATUS_FAILED;
}

static int write_out(const struct buf *out)
{
    if (out->failed) {
        return fail("stdout", strerror(ENOMEM));
    }
    bool written = fwrite(out->data, 1, out->length, stdout) == out->length && fflush(stdout) == 0;
    return written ? STATUS_YES : fail("stdout", strerror(errno));
}

static int write_manual(const char *date, const char *name)
{
    struct buf out CLEANUP(buf_done) = BUF_INIT;
    const struct command *command = name ? command_find(name) : NULL;
    if (name && !command) {
        return fail(name, "there is no such command");
    }
    manual_add(&out, command, date);
    return write_out(&out);
}

/* A template with the table in place of the line that stands for it. */
static int write_completion(void (*add_table)(struct buf *out), const char *path)
{
    struct buf out CLEANUP(buf_done) = BUF_INIT;
    char *line = NULL;
    size_t size = 0, tables = 0;
    FILE *template = fopen(path, "re");
    if (!template) {
        return fail(path, strerror(errno));
    }
    while (getline(&line, &size, template) >= 0) {
        if (strcmp(line, "@table@\n") == 0) {
            add_table(&out);
            tables++;
        } else {
            buf_text(&out, line);
        }
    }
    bool failed = ferror(template) != 0;
    free(line);
    (void)fclose(template);
    return failed         ? fail(path, "it cannot be read")
           : tables != 1u ? fail(path, "it has no place for the table, or several")
                          : write_out(&out);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*add_table)(struct buf *out);
    } shells[] = {{"bash", completion_bash}, {"zsh", completion_zsh}, {"fish", completion_fish}};
    if (argc >= 3 && argc <= 4 && strcmp(argv[1], "man") == 0) {
        return write_manual(argv[2], argv[3]);
    }
    for (size_t i = 0; argc == 3 && i < ARRAY_LENGTH(shells); i++) {
        if (strcmp(argv[1], shells[i].name) == 0) {
            return write_completion(shells[i].add_table, argv[2]);
        }
    }
    (void)fprintf(stderr, "usage: vram-texts man DATE [COMMAND] | bash|zsh|fish TEMPLATE\n");
    return STATUS_USAGE;
}
