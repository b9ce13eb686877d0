/* SPDX-License-Identifier: MIT */
/* vram why: what went on when memory was short, in plain words. */
#include "cli/command.h"

#include "cli/moments.h"
#include "cli/session.h"
#include "cli/why_tell.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BEFORE_MS (INT64_C(10) * 60000) /* who grew, in this time */
#define AFTER_MS (INT64_C(5) * 60000)   /* who ended, and what else came of it */
#define TROUBLE "nearly_full,oom_suspected"
#define DAY_MS (INT64_C(86400) * 1000)

/* ---- When ------------------------------------------------------------------------------------ */

static int ask_events(struct cli *cli, int64_t from_ms, int64_t to_ms, const char *more,
                      struct past *ret_past)
{
    char target[PAST_TARGET_MAX];
    int status = past_target(cli, "/v1/events", from_ms, to_ms, target);
    if (status != 0) {
        return status;
    }
    size_t length = strlen(target);
    (void)snprintf(target + length, sizeof(target) - length, "%s", more);
    return past_events(cli, target, ret_past);
}

/* Where no moment is named: the last time that memory was short. */
static int find_trouble(struct cli *cli, struct why *why)
{
    struct past past CLEANUP(past_done) = {0};
    char since[MOMENT_MAX];
    int status = ask_events(cli, 0, why->now_ms + 1000, "&kind=" TROUBLE "&limit=1", &past);
    if (status != 0) {
        return status;
    }
    if (past.count == 0 && past.since_ms == PAST_NEVER) {
        return cli_fail(cli, STATUS_UNKNOWN, "no_history", NULL, "there is no history yet");
    }
    if (past.count == 0) {
        return cli_fail(cli, STATUS_NO, "no_trouble", "`vram why 03:00` tells of any other moment",
                        "no GPU has been nearly full since %s, when history begins",
                        moment_text(past.since_ms, since));
    }
    why->at_ms = past.events[0].at_ms;
    return 0;
}

static int choose_moment(struct cli *cli, struct why *why)
{
    why->now_ms = moment_now_ms();
    if (cli->arguments.word_count == 0) {
        return find_trouble(cli, why);
    }
    int status = moment_word(cli, cli->arguments.words[0], why->now_ms, &why->at_ms);
    if (status == 0 && why->at_ms > why->now_ms) {
        return cli_fail(cli, STATUS_USAGE, "usage", NULL, "that has not been yet");
    }
    return status;
}

/* ---- What ------------------------------------------------------------------------------------ */

/* As fine as it is still kept. */
static uint64_t step_for(const struct why *why)
{
    int64_t age_ms = why->now_ms - why->at_ms;
    return age_ms < 2 * DAY_MS ? 10 : age_ms < 30 * DAY_MS ? 60 : 900;
}

static int ask_memory(struct cli *cli, struct why *why)
{
    char target[PAST_TARGET_MAX];
    why->step_s = step_for(why);
    /* What was seen a moment before belongs to it: it may have become full at the end of the step before. */
    int64_t from_ms = why->at_ms - (int64_t)why->step_s * 1000;
    int status = past_target(cli, "/v1/history", from_ms > 0 ? from_ms : 0, why->at_ms + 1, target);
    if (status != 0) {
        return status;
    }
    size_t length = strlen(target);
    (void)snprintf(target + length, sizeof(target) - length, "&step=%" PRIu64, why->step_s);
    return past_memory(cli, target, &why->memory);
}

static int ask_rest(struct cli *cli, struct why *why)
{
    char target[PAST_TARGET_MAX];
    /* Growth up to that moment, with what belongs to it. */
    int status = past_target(cli, "/v1/processes", why->from_ms, why->at_ms + 1000, target);
    if (status == 0) {
        status = past_processes(cli, target, &why->grown);
    }
    if (status == 0) {
        status = past_target(cli, "/v1/processes", why->from_ms, why->to_ms, target);
    }
    if (status == 0) {
        status = past_processes(cli, target, &why->ended);
    }
    if (status == 0) {
        status = past_target(cli, "/v1/history/leases", why->at_ms, why->at_ms + 1000, target);
    }
    if (status == 0) {
        status = past_leases(cli, target, &why->leases);
    }
    return status == 0 ? ask_events(cli, why->from_ms, why->to_ms, "", &why->events) : status;
}

static bool is_recorded(const struct why *why)
{
    for (size_t i = 0; i < why->memory.count; i++) {
        if (why_gpu_is_known(why, &why->memory.gpus[i])) {
            return true;
        }
    }
    return false;
}

static int say_unrecorded(struct cli *cli, const struct why *why)
{
    char at[MOMENT_MAX], since[MOMENT_MAX];
    if (why->memory.since_ms == PAST_NEVER) {
        return cli_fail(cli, STATUS_UNKNOWN, "no_history", NULL, "there is no history yet");
    }
    return cli_fail(cli, STATUS_UNKNOWN, "not_recorded",
                    "vramd must run to remember: `systemctl enable --now vramd.service`",
                    "nothing was recorded at %s; there is history since %s",
                    moment_text(why->at_ms, at), moment_text(why->memory.since_ms, since));
}

static void why_done(struct why *why)
{
    past_done(&why->memory);
    past_done(&why->grown);
    past_done(&why->ended);
    past_done(&why->leases);
    past_done(&why->events);
}

static int run(struct cli *cli)
{
    struct why why CLEANUP(why_done) = {0};
    int status = session_open(cli);
    if (status == 0) {
        status = choose_moment(cli, &why);
    }
    why.from_ms = why.at_ms > BEFORE_MS ? why.at_ms - BEFORE_MS : 0;
    why.to_ms = why.at_ms + AFTER_MS;
    if (status == 0) {
        status = ask_memory(cli, &why);
    }
    if (status == 0 && !is_recorded(&why)) {
        status = say_unrecorded(cli, &why);
    }
    if (status == 0) {
        status = ask_rest(cli, &why);
    }
    if (status != 0) {
        return status;
    }
    if (cli->format == FORMAT_JSON) {
        why_print_json(&cli->out, &why);
    } else {
        why_print_text(cli, &why);
    }
    return STATUS_YES;
}

const struct command command_why = {
    .name = "why",
    .summary = "what went on when memory was short, in plain words",
    .arguments = "[TIME]",
    .description =
        "Tells of a moment what was free on each GPU, which processes had grown most in the ten "
        "minutes before, who ended in the minutes around it and with how much, which leases stood, "
        "and what else happened. TIME is a moment: 03:00 (the last time that it was so late), "
        "\"2026-11-26 03:00\", 2h or \"2h ago\", now, @SECONDS. Without it the last moment is "
        "meant at "
        "which a GPU was nearly full, or a process ended within seconds of that, which is how an "
        "out-of-memory looks from outside.\n\nIt says only what was recorded. Where no history is "
        "kept it says how to keep one.",
    .json = "one object: schema, at, gpus (uuid, index, mig_index, name, total_bytes, max_bytes, "
            "free_bytes), grew and ended (processes), leases and events (the newest first)",
    .statuses = "012346",
    .examples = "vram why\tthe last time that memory was short\n"
                "vram why 03:00\tlast night at three\n"
                "vram why 2h --gpu 0\ttwo hours ago, on one GPU\n",
    .words_max = 1,
    .run = run,
};
