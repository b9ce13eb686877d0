/* SPDX-License-Identifier: MIT */
#include "cli/leasing.h"

#include "cli/text.h"
#include "cli/values.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

#define MS_NS ((uint64_t)1000000)

/* ---- What is asked --------------------------------------------------------------------------- */

/* Rounded up: a time-out of a microsecond is none of 0. */
static int read_duration(struct cli *cli, const char *name, uint64_t *ret_ms)
{
    uint64_t ns = 0;
    int status = values_duration(cli, name, &ns);
    if (status == 0 && arguments_has(&cli->arguments, name)) {
        *ret_ms = ns / MS_NS + (ns % MS_NS != 0);
    }
    return status;
}

static int read_members(struct leasing *leasing)
{
    const struct arguments *arguments = &leasing->cli->arguments;
    size_t at = 0, count = 0;
    leasing->members = calloc(arguments->given_count + 1, sizeof(*leasing->members));
    if (!leasing->members) {
        return cli_fail_memory(leasing->cli);
    }
    for (const char *member; (member = arguments_next(arguments, "member", &at));) {
        leasing->members[count++] = member;
    }
    leasing->request.members = count ? leasing->members : NULL;
    leasing->request.member_count = count;
    return 0;
}

static int choose_id(struct leasing *leasing)
{
    uint64_t number;
    if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number)) {
        return cli_fail(leasing->cli, STATUS_FAILED, "no_random", NULL,
                        "no random number can be had: %s", strerror(errno));
    }
    (void)snprintf(leasing->id, sizeof(leasing->id), "%016" PRIx64, number);
    leasing->request.id = leasing->id;
    return 0;
}

int leasing_read(struct leasing *leasing, struct cli *cli, const char *size)
{
    struct vram_lease_request init = VRAM_LEASE_REQUEST_INIT;
    struct vram_fit_request fit = VRAM_FIT_REQUEST_INIT;
    *leasing = (struct leasing){.cli = cli, .request = init};
    struct vram_lease_request *request = &leasing->request;
    fit.margin_bytes = VRAM_UNKNOWN;
    request->label = arguments_value(&cli->arguments, "label");
    int status = size ? values_size(cli, size, &request->size_bytes) : 0;
    if (status == 0) {
        status = values_margin(cli, &fit);
        request->margin_bytes = fit.margin_bytes;
        request->margin_millipercent = fit.margin_millipercent;
    }
    if (status == 0) {
        status = values_count(cli, "gpus", &request->gpu_count);
    }
    if (status == 0) {
        status = read_duration(cli, "timeout", &request->timeout_ms);
    }
    if (status == 0) {
        status = read_duration(cli, "for", &request->for_ms);
    }
    if (status == 0 && arguments_has(&cli->arguments, "for") && request->for_ms == 0) {
        return cli_fail(cli, STATUS_USAGE, "usage", NULL, "--for 0 is no time to lease anything");
    }
    if (status == 0) {
        status = read_members(leasing);
    }
    return status == 0 ? choose_id(leasing) : status;
}

void leasing_done(struct leasing *leasing)
{
    free(leasing->members);
    free(leasing->candidates);
    session_snapshot_done(&leasing->snapshot);
    leasing->verdict = vram_verdict_free(leasing->verdict);
}

/* Where GPUs are named, by --gpu or CUDA_VISIBLE_DEVICES, the daemon's snapshot says which they are. */
static int choose_candidates(struct leasing *leasing)
{
    struct cli *cli = leasing->cli;
    struct selection selection CLEANUP(selection_done) = {0};
    if (!arguments_has(&cli->arguments, "gpu") && !getenv("CUDA_VISIBLE_DEVICES")) {
        return 0;
    }
    int r = vram_snapshot_wait(cli->vram, 0, 0, 0, &leasing->snapshot);
    if (r < 0) {
        return cli_fail_daemon(cli, r);
    }
    int status = session_candidates(cli, leasing->snapshot, &selection);
    if (status != 0) {
        return status;
    }
    leasing->candidates = calloc(selection.count + 1, sizeof(*leasing->candidates));
    if (!leasing->candidates) {
        return cli_fail_memory(cli);
    }
    size_t count = 0;
    for (size_t i = 0; i < selection.count; i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(leasing->snapshot, selection.positions[i]);
        if (gpu->uuid) {
            leasing->candidates[count++] = gpu->uuid;
        }
    }
    if (count == 0) {
        return cli_fail(cli, STATUS_NO_GPU, "no_usable_gpu", "`vram doctor` tells what to do",
                        "none of the GPUs asked about tells its UUID");
    }
    leasing->request.candidates = leasing->candidates;
    leasing->request.candidate_count = count;
    return 0;
}

/* ---- The queue ------------------------------------------------------------------------------- */

static size_t stderr_width(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

/* Writes the terminal's last line anew; with NULL it is empty again. */
static void rewrite_line(struct leasing *leasing, const char *text)
{
    const struct screen *screen = cli_screen(leasing->cli);
    struct buf safe CLEANUP(buf_done) = BUF_INIT, line CLEANUP(buf_done) = BUF_INIT;
    text_safe(&safe, text ? text : "", screen->utf8);
    buf_text(&line, "\r\033[K");
    text_cut(&line, safe.data ? safe.data : "", stderr_width() - 1,
             screen_symbol(screen, SYMBOL_CUT));
    if (!line.failed) {
        (void)!write(STDERR_FILENO, line.data, line.length);
    }
}

static void show_progress(void *data, uint64_t position, const char *waits_for)
{
    struct leasing *leasing = data;
    char text[sizeof(leasing->shown)];
    (void)snprintf(text, sizeof(text), "waiting, number %" PRIu64 " in line%s%s", position,
                   waits_for[0] ? ": " : "", waits_for);
    if (leasing->cli->format == FORMAT_JSON || strcmp(text, leasing->shown) == 0) {
        return;
    }
    memcpy(leasing->shown, text, sizeof(text));
    if (leasing->terminal) {
        char line[sizeof(text) + 8];
        (void)snprintf(line, sizeof(line), "vram: %s", text);
        rewrite_line(leasing, line);
    } else {
        cli_note(leasing->cli, "%s", text);
    }
}

static bool is_terminal(void)
{
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) && term && term[0] && strcmp(term, "dumb") != 0;
}

/* ---- Asking ---------------------------------------------------------------------------------- */

int leasing_ask(struct leasing *leasing)
{
    struct cli *cli = leasing->cli;
    int status = session_open(cli);
    if (status != 0) {
        return status;
    }
    int r = vram_daemon_start(cli->vram, 0);
    if (r < 0) {
        return cli_fail_daemon(cli, r);
    }
    status = choose_candidates(leasing);
    if (status != 0) {
        return status;
    }
    r = retraction_begin(&leasing->retraction, cli->vram, leasing->id);
    if (r < 0) {
        return cli_fail(cli, STATUS_FAILED, "no_thread", NULL, "no thread can be made: %s",
                        strerror(-r));
    }
    leasing->terminal = is_terminal();
    leasing->request.progress = show_progress;
    leasing->request.data = leasing;
    r = vram_lease_acquire(cli->vram, &leasing->request, &leasing->verdict);
    if (leasing->terminal && leasing->shown[0]) {
        rewrite_line(leasing, NULL);
    }
    if (r < 0) {
        leasing_settle(leasing);
        return cli_fail_daemon(cli, r);
    }
    if (leasing->verdict->made_room && cli->format != FORMAT_JSON) {
        struct buf safe CLEANUP(buf_done) = BUF_INIT;
        text_safe(&safe, leasing->verdict->made_room, cli_screen(cli)->utf8);
        cli_note(cli, "%s", safe.data ? safe.data : "");
    }
    return 0;
}

void leasing_settle(struct leasing *leasing)
{
    retraction_end(&leasing->retraction);
}
