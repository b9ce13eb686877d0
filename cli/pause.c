/* SPDX-License-Identifier: MIT */
/* vram pause, vram resume: the daemon lets go of the driver, and takes it up again. */
#include "cli/command.h"

#include "cli/session.h"
#include "common/json.h"

static int order(struct cli *cli, int (*function)(struct vram *), bool paused, const char *sentence)
{
    int status = session_open(cli);
    if (status != 0) {
        return status;
    }
    int r = function(cli->vram);
    if (r < 0) {
        return cli_fail_daemon(cli, r);
    }
    if (cli->format == FORMAT_JSON) {
        struct json json = JSON_INIT(&cli->out);
        json_object(&json, NULL);
        json_number(&json, "schema", 1);
        json_bool(&json, "paused", paused);
        json_end_object(&json);
        buf_char(&cli->out, '\n');
    } else {
        cli_note(cli, "%s", sentence);
    }
    return STATUS_YES;
}

static int run_pause(struct cli *cli)
{
    return order(cli, vram_daemon_pause, true,
                 "paused: the daemon has let go of the driver; leases are kept and none is granted "
                 "until `vram resume`");
}

static int run_resume(struct cli *cli)
{
    return order(cli, vram_daemon_resume, false, "resumed: the daemon asks the driver again");
}

const struct command command_pause = {
    .name = "pause",
    .summary = "have the daemon let go of the driver",
    .arguments = "",
    .description =
        "For an upgrade of the driver, whose module cannot be removed while anybody has it open. "
        "The daemon closes it; leases are kept, and none is granted until `vram resume`. Programs "
        "that use the GPU keep it open themselves. Only administrators may.",
    .json = "one object: schema and paused",
    .statuses = "024",
    .examples = "sudo vram pause && sudo rmmod nvidia_uvm nvidia\tthen install, load, resume\n",
    .run = run_pause,
};

const struct command command_resume = {
    .name = "resume",
    .summary = "have the daemon take the driver up again",
    .arguments = "",
    .description = "Ends what `vram pause` began: the daemon opens the driver again and goes on "
                   "granting leases. Only administrators may.",
    .json = "one object: schema and paused",
    .statuses = "024",
    .examples = "sudo vram resume\tafter the upgrade\n",
    .run = run_resume,
};
