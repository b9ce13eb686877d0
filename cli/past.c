/* SPDX-License-Identifier: MIT */
/* What is asked of the daemon's memory. */
#include "cli/past.h"

#include "cli/cli.h"
#include "cli/text.h"
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Letters, digits, and what stands in UUIDs and PCI addresses: nothing that a query would have to encode. */
static bool is_plain(const char *text)
{
    for (; *text; text++) {
        if (!isalnum((unsigned char)*text) && !strchr("-.:", *text)) {
            return false;
        }
    }
    return true;
}

int past_target(struct cli *cli, const char *path, int64_t from_ms, int64_t to_ms,
                char target[PAST_TARGET_MAX])
{
    char quoted[TEXT_QUOTED_MAX];
    size_t at = 0, length = (size_t)snprintf(target, PAST_TARGET_MAX,
                                             "%s?from=%" PRId64 ".%03d&to=%" PRId64 ".%03d", path,
                                             from_ms / 1000, (int)(from_ms % 1000), to_ms / 1000,
                                             (int)(to_ms % 1000));
    bool first = true;
    for (const char *gpu; (gpu = arguments_next(&cli->arguments, "gpu", &at));) {
        if (!gpu[0] || !is_plain(gpu) || length + strlen(gpu) + 64 > PAST_TARGET_MAX) {
            return cli_fail(cli, STATUS_USAGE, "usage", NULL, "%s is no GPU, or there are too many",
                            text_quote(gpu, quoted));
        }
        length += (size_t)snprintf(target + length, PAST_TARGET_MAX - length, "%s%s",
                                   first ? "&gpu=" : ",", gpu);
        first = false;
    }
    return 0;
}

/* ---- As a command asks ----------------------------------------------------------------------- */

static int tell(struct cli *cli, int r)
{
    switch (r) {
    case 0:
        return 0;
    case PAST_UNREADABLE:
        return cli_fail(cli, STATUS_FAILED, "bad_daemon", "a newer daemon may run: restart it",
                        "the daemon's answer cannot be read");
    case -ENOSYS:
        return cli_fail(cli, STATUS_FAILED, "without_daemon", NULL,
                        "this vram was built without the daemon's client");
    default:
        return r == -ENOMEM ? cli_fail_memory(cli) : cli_fail_daemon(cli, r);
    }
}

int past_memory(struct cli *cli, const char *target, struct past *ret_past)
{
    return tell(cli, past_take_memory(cli->vram, target, ret_past));
}

int past_processes(struct cli *cli, const char *target, struct past *ret_past)
{
    return tell(cli, past_take_processes(cli->vram, target, ret_past));
}

int past_leases(struct cli *cli, const char *target, struct past *ret_past)
{
    return tell(cli, past_take_leases(cli->vram, target, ret_past));
}

int past_events(struct cli *cli, const char *target, struct past *ret_past)
{
    return tell(cli, past_take_events(cli->vram, target, ret_past));
}

int past_report(struct cli *cli, const char *target, struct past *ret_past)
{
    return tell(cli, past_take_report(cli->vram, target, ret_past));
}

int past_holders(struct cli *cli, struct past *ret_past)
{
    return tell(cli, past_take_holders(cli->vram, ret_past));
}

int past_needs(struct cli *cli, const char *label, struct past *ret_past)
{
    return tell(cli, past_take_needs(cli->vram, label, ret_past));
}
