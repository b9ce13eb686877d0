/* SPDX-License-Identifier: MIT */
/*
 * What every command shares: the run it belongs to, its exit statuses, its way to speak.
 *
 * A function that reports its failure itself returns an exit status: 0 to go on, else what the
 * program ends with. A command builds its whole answer in `out`, which is written once at the end,
 * so that a failure never leaves half an answer behind.
 */
#ifndef VRAM_CLI_CLI_H
#define VRAM_CLI_CLI_H

#include "cli/arguments.h"
#include "cli/screen.h"
#include "common/buf.h"
#include "include/vram.h"

/* The contract with scripts; the help lists them from a table in help.c. */
enum exit_status {
    STATUS_YES = 0,
    STATUS_NO = 1,
    STATUS_USAGE = 2,
    STATUS_NO_GPU = 3,
    STATUS_FAILED = 4,
    STATUS_NEVER = 5,
    STATUS_UNKNOWN = 6,
    STATUS_TIMED_OUT = 124,
    STATUS_OURS = 125, /* `run`: a failure that is not the command's */
    STATUS_NO_EXECUTION = 126,
    STATUS_NO_COMMAND = 127,
    STATUS_INTERRUPTED = 130,
};

enum format { FORMAT_TEXT, FORMAT_JSON, FORMAT_CSV };

struct command;

/* One run of the program. */
struct cli {
    const struct command *command;
    struct arguments arguments;
    enum format format;
    struct screen screen; /* through cli_screen() */
    bool screen_known;
    struct vram *vram;        /* through session.h */
    struct buf out;           /* what stdout will get */
    void (*pipe_signal)(int); /* what SIGPIPE did when the program was started */
};

/* The screen, looked at when first asked for: programs that read JSON need not pay for it. */
const struct screen *cli_screen(struct cli *cli);

/* One line on stderr for people; nothing with --json, whose objects carry the same. */
void cli_note(struct cli *cli, const char *format, ...) PRINTF_LIKE(2, 3);

/*
 * Says what went wrong on stderr, with --json also as the only object on stdout, and returns
 * `status`. `code` is a stable word for programs; `hint` is one or two lines or NULL.
 */
int cli_fail(struct cli *cli, int status, const char *code, const char *hint, const char *format,
             ...) PRINTF_LIKE(5, 6);

/* The same for the library's last failure, `result`: the status follows from it. */
int cli_fail_library(struct cli *cli, int result);

/* The same for a call to the daemon. */
int cli_fail_daemon(struct cli *cli, int result);

int cli_fail_memory(struct cli *cli);

/*
 * Writes `out` to stdout and empties it. Returns `status`, or another where it could not be
 * written; a reader that has gone is no failure: *ret_closed, where it is not NULL, tells of it.
 */
int cli_flush(struct cli *cli, int status, bool *ret_closed);

/* Adds the object of an error to `out`, without a newline. */
void cli_error_json(struct buf *out, const char *code, const char *message, const char *hint);

#endif
