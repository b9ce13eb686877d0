/* SPDX-License-Identifier: MIT */
/* A command that was built without a reader of JSON cannot read what a daemon remembers. */
#include "cli/past.h"

static int fail(struct cli *cli, struct past *past)
{
    *past = (struct past){0};
    return cli_fail(cli, STATUS_FAILED, "without_daemon", NULL,
                    "this vram was built without the daemon's client");
}

void past_done(struct past *past)
{
    *past = (struct past){0};
}

int past_memory(struct cli *cli, const char *target, struct past *ret_past)
{
    (void)target;
    return fail(cli, ret_past);
}

int past_processes(struct cli *cli, const char *target, struct past *ret_past)
{
    (void)target;
    return fail(cli, ret_past);
}

int past_leases(struct cli *cli, const char *target, struct past *ret_past)
{
    (void)target;
    return fail(cli, ret_past);
}

int past_events(struct cli *cli, const char *target, struct past *ret_past)
{
    (void)target;
    return fail(cli, ret_past);
}

int past_holders(struct cli *cli, struct past *ret_past)
{
    return fail(cli, ret_past);
}

int past_needs(struct cli *cli, const char *label, struct past *ret_past)
{
    (void)label;
    return fail(cli, ret_past);
}

void past_print(struct buf *out, const void *document)
{
    (void)document;
    buf_text(out, "null");
}
