/* SPDX-License-Identifier: MIT */
/* vram reserve: a lease for a running process. */
#include "cli/command.h"

#include "cli/leasing.h"
#include "cli/text.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The owner: the process of --pid, else whoever called this program, a shell with its script most often. */
static int read_owner(struct cli *cli, int64_t *ret_pid)
{
    const char *text = arguments_value(&cli->arguments, "pid");
    char quoted[TEXT_QUOTED_MAX];
    *ret_pid = VRAM_OWNER_PARENT;
    if (!text) {
        return 0;
    }
    size_t length = strspn(text, "0123456789");
    int64_t pid = 0;
    for (size_t i = 0; i < length && length < 11; i++) {
        pid = pid * 10 + (text[i] - '0');
    }
    if (text[length] || pid < 1 || pid > INT32_MAX) {
        return cli_fail(cli, STATUS_USAGE, "usage", NULL, "%s is not a process",
                        text_quote(text, quoted));
    }
    *ret_pid = pid;
    return 0;
}

static int status_of(uint32_t answer)
{
    static const int statuses[] = {
        [VRAM_FITS] = STATUS_YES,
        [VRAM_NOT_NOW] = STATUS_NO,
        [VRAM_NEVER] = STATUS_NEVER,
        [VRAM_CANNOT_TELL] = STATUS_UNKNOWN,
        [VRAM_TIMED_OUT] = STATUS_TIMED_OUT,
    };
    return answer < ARRAY_LENGTH(statuses) ? statuses[answer] : STATUS_UNKNOWN;
}

static void print_text(struct cli *cli, const struct vram_verdict *verdict)
{
    if (verdict->answer == VRAM_FITS) {
        buf_format(&cli->out, "%s\n", verdict->lease->id);
    } else {
        cli_note(cli, "%s", verdict->message);
    }
}

static int print_json(struct cli *cli, const struct vram_verdict *verdict)
{
    char *text;
    if (vram_verdict_json(verdict, &text) < 0) {
        return cli_fail_memory(cli);
    }
    buf_format(&cli->out, "%s\n", text);
    free(text);
    return 0;
}

/* Tells the verdict. A lease whose id nobody got to know is nobody's. */
static int tell(struct cli *cli, const struct vram_verdict *verdict)
{
    bool closed = false;
    int status = 0;
    if (cli->format == FORMAT_JSON) {
        status = print_json(cli, verdict);
    } else {
        print_text(cli, verdict);
    }
    status = cli_flush(cli, status == 0 ? status_of(verdict->answer) : status, &closed);
    if (verdict->answer == VRAM_FITS && (status != STATUS_YES || closed)) {
        (void)!vram_lease_end(cli->vram, verdict->lease->id);
        status = status == STATUS_YES ? STATUS_FAILED : status;
    }
    return status;
}

static int run(struct cli *cli)
{
    struct leasing leasing CLEANUP(leasing_done) = {0};
    int status = leasing_read(&leasing, cli, cli->arguments.words[0]);
    if (status == 0) {
        status = read_owner(cli, &leasing.request.owner_pid);
    }
    if (status == 0) {
        status = leasing_ask(&leasing);
    }
    if (status != 0) {
        return status;
    }
    status = tell(cli, leasing.verdict);
    leasing_settle(&leasing);
    return status;
}

static const struct option options[] = {
    {"pid", 0, "P", "the owner, as long as which the lease lasts (the process that calls vram)"},
    {"timeout", 0, "T", "wait for it, at most so long: 500ms, 30s, 5m (it does not wait)"},
    LEASING_OPTIONS,
    {NULL, 0, NULL, NULL},
};

static const uint32_t objects[] = {VRAM_OBJECT_LEASE, VRAM_OBJECT_FIT, VRAM_OBJECT_FIT_GPU};

const struct command command_reserve = {
    .name = "reserve",
    .summary = "a lease for a process that runs",
    .arguments = "SIZE",
    .description =
        "Asks the daemon to keep SIZE for a process: no other lease is granted that memory, "
        "allocated or not. SIZE is what the process has still to allocate, on each GPU. The owner "
        "is the process of --pid, else the one that called vram, so that a shell script can hold a "
        "lease for what it starts. The lease ends with `vram release`, with its owner and those of "
        "its members that still hold memory, or with --for. The id is printed alone; a refusal is "
        "told on stderr.\n\nThe GPUs asked about are those that --gpu names, else those that "
        "CUDA_VISIBLE_DEVICES shows CUDA programs, else all. Where no daemon runs, one is started "
        "that ends by itself.",
    .options = options,
    .json = "one object: schema, verdict (granted, not_now, never, unknown or timed_out), message, "
            "lease (null where there is none; with gpus, members and attached) and answer, the "
            "arithmetic as in `vram fit --json`",
    .objects = objects,
    .object_count = ARRAY_LENGTH(objects),
    .statuses = "0123456ti",
    .examples = "id=$(vram reserve 12G) && ./load\ta script holds 12 GiB\n"
                "vram reserve 8G --pid 4242 --timeout 5m\tfor another process\n"
                "vram reserve 20G --member unit:ollama.service\tfilled by a service\n",
    .words_min = 1,
    .words_max = 1,
    .run = run,
};
