/* SPDX-License-Identifier: MIT */
/* vram release: ends leases, or takes requests back. */
#include "cli/command.h"

#include "cli/session.h"
#include "common/json.h"
#include <errno.h>
#include <stdint.h>

/* A lease outlives a daemon that was killed: then another is started, which has it. */
static int end(struct vram *vram, const char *id)
{
    int r = vram_lease_end(vram, id);
    if (r == -ENOTCONN || r == -ECONNREFUSED) {
        int started = vram_daemon_start(vram, VRAM_START_IF_PROMISED);
        r = started == 0 ? r : started < 0 ? started : vram_lease_end(vram, id);
    }
    return r;
}

/* Ends one; its object, or its error, into the JSON. 0 or an exit status. */
static int release(struct cli *cli, const char *id, struct json *json)
{
    int r = end(cli->vram, id);
    if (r < 0) {
        return cli_fail_daemon(cli, r);
    }
    json_object(json, NULL);
    json_text(json, "id", id);
    json_text(json, "ended", r == 1 ? "request" : "lease");
    json_end_object(json);
    return 0;
}

static int run(struct cli *cli)
{
    struct buf ended CLEANUP(buf_done) = BUF_INIT;
    struct json json = JSON_INIT(&ended);
    int worst = session_open(cli);
    if (worst != 0) {
        return worst;
    }
    json_object(&json, NULL);
    json_number(&json, "schema", 1);
    json_array(&json, "released");
    for (size_t i = 0; i < cli->arguments.word_count; i++) {
        int status = release(cli, cli->arguments.words[i], &json);
        worst = status > worst ? status : worst;
    }
    json_end_array(&json);
    json_end_object(&json);
    if (worst == 0 && cli->format == FORMAT_JSON) {
        buf_format(&cli->out, "%s\n", ended.data ? ended.data : "");
        cli->out.failed = cli->out.failed || ended.failed;
    }
    return worst;
}

const struct command command_release = {
    .name = "release",
    .summary = "end a lease, or take a request back",
    .arguments = "ID...",
    .description =
        "Ends the leases of these ids, or takes the requests back that still wait. The beginning "
        "of "
        "an id is enough where only one begins so, with at least 4 digits. Memory that is in use "
        "stays in use, and is counted as such; nothing is killed. Only the owner's user and "
        "administrators may.",
    .json = "one object: schema and released, each with id, as it was given, and ended (lease or "
            "request)",
    .statuses = "0124",
    .examples = "vram release 8f14e45f\tby the first digits\n"
                "vram release \"$id\"\twhat `vram reserve` printed\n",
    .words_min = 1,
    .words_max = SIZE_MAX,
    .run = run,
};
