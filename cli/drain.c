/* SPDX-License-Identifier: MIT */
/* vram drain, vram undrain: no new leases on a GPU, and again. */
#include "cli/command.h"

#include "cli/session.h"
#include "common/json.h"

static void tell(struct cli *cli, const struct vram_gpu *gpu, bool drained)
{
    char label[GPU_LABEL_MAX];
    if (cli->format == FORMAT_JSON) {
        struct json json = JSON_INIT(&cli->out);
        json_object(&json, NULL);
        json_number(&json, "schema", 1);
        json_text(&json, "gpu", gpu->uuid);
        json_bool(&json, "drained", drained);
        json_end_object(&json);
        buf_char(&cli->out, '\n');
    } else if (drained) {
        cli_note(cli,
                 "drained: no new lease is granted on GPU %s until `vram undrain %s`; those that "
                 "are there stay",
                 session_gpu_label(gpu, label), label);
    } else {
        cli_note(cli, "leases are granted on GPU %s again", session_gpu_label(gpu, label));
    }
}

/* The GPU is named by the argument, as --gpu names one. */
static int order(struct cli *cli, int (*function)(struct vram *, const char *), bool drained)
{
    struct vram_snapshot *snapshot CLEANUP(session_snapshot_done) = NULL;
    size_t position = 0;
    int status = session_open(cli);
    if (status == 0) {
        status = session_take(cli, 0, &snapshot);
    }
    if (status != 0) {
        return status;
    }
    int count = vram_select(snapshot, cli->arguments.words[0], &position, 1);
    const struct vram_gpu *gpu = count == 1 ? vram_snapshot_gpu(snapshot, position) : NULL;
    if (!gpu || !gpu->uuid) {
        return cli_fail(cli, STATUS_USAGE, "usage", "`vram status` lists them",
                        "%s names no GPU, or several", cli->arguments.words[0]);
    }
    int r = function(cli->vram, gpu->uuid);
    if (r < 0) {
        return cli_fail_daemon(cli, r);
    }
    tell(cli, gpu, drained);
    return STATUS_YES;
}

static int run_drain(struct cli *cli)
{
    return order(cli, vram_daemon_drain, true);
}

static int run_undrain(struct cli *cli)
{
    return order(cli, vram_daemon_undrain, false);
}

const struct command command_drain = {
    .name = "drain",
    .summary = "grant no new lease on a GPU",
    .arguments = "GPU",
    .description =
        "Has the daemon grant no new lease on a GPU, so that it empties: for maintenance, or for "
        "somebody who is to have it alone. The GPU is named as for --gpu. Leases that are there "
        "stay "
        "and can become smaller, not larger; requests for that GPU alone wait. Programs that ask "
        "for "
        "no lease are not stopped. It lasts until `vram undrain` or until the machine restarts, "
        "and "
        "is written into the log. Only administrators may.",
    .json = "one object: schema, gpu (its UUID) and drained",
    .statuses = "0234",
    .examples = "sudo vram drain 1\tthen wait until `vram leases` shows none there\n",
    .words_min = 1,
    .words_max = 1,
    .run = run_drain,
};

const struct command command_undrain = {
    .name = "undrain",
    .summary = "grant leases on a GPU again",
    .arguments = "GPU",
    .description = "Ends what `vram drain` began. Only administrators may.",
    .json = "one object: schema, gpu (its UUID) and drained",
    .statuses = "0234",
    .examples = "sudo vram undrain 1\tafter the maintenance\n",
    .words_min = 1,
    .words_max = 1,
    .run = run_undrain,
};
