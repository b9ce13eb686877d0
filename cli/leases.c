/* SPDX-License-Identifier: MIT */
/* vram leases: who holds leases, who waits, and for what. */
#include "cli/command.h"

#include "cli/fields.h"
#include "cli/lease_tables.h"
#include "cli/session.h"
#include "cli/stop.h"
#include "common/clock.h"
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The daemon answers when something changes; in between it is seen to that there still is somebody who reads. */
#define LOOK_MS 2000
#define RETRY_NS ((uint64_t)500 * 1000000)

static void view_done(struct lease_view *view)
{
    view->list = vram_lease_list_free(view->list);
    session_snapshot_done(&view->snapshot);
}

/* ---- For people ------------------------------------------------------------------------------ */

static void print_text(const struct lease_view *view)
{
    size_t leases = view->list ? vram_lease_list_count(view->list) : 0;
    size_t waiters = view->list ? vram_lease_list_waiter_count(view->list) : 0;
    if (leases > 0) {
        lease_tables_leases(view);
    }
    if (waiters > 0) {
        buf_text(&view->cli->out, leases > 0 ? "\n" : "");
        lease_tables_waiters(view);
    }
    if (view->list && vram_lease_list_ceiling_count(view->list) > 0) {
        buf_text(&view->cli->out, leases + waiters > 0 ? "\n" : "");
        lease_tables_ceilings(view);
    }
}

/* What the tables do not say. */
static void note_rest(const struct lease_view *view)
{
    if (!view->list) {
        cli_note(view->cli, "nothing is leased: no daemon runs");
        return;
    }
    const struct vram_daemon *daemon = vram_lease_list_daemon(view->list);
    if (!daemon->promising) {
        cli_note(view->cli, "no lease is granted at present%s%s", daemon->message ? ": " : "",
                 daemon->message ? daemon->message : "");
    }
    for (size_t i = 0; view->snapshot && i < vram_snapshot_gpu_count(view->snapshot); i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(view->snapshot, i);
        char label[GPU_LABEL_MAX];
        if (gpu->drained) {
            cli_note(view->cli, "GPU %s is drained: no new lease is granted there",
                     session_gpu_label(gpu, label));
        }
    }
    if (vram_lease_list_count(view->list) + vram_lease_list_waiter_count(view->list) == 0) {
        cli_note(view->cli, "nothing is leased and nobody waits");
    }
}

/* ---- For programs ---------------------------------------------------------------------------- */

static int print_json(const struct lease_view *view)
{
    char *text = NULL;
    if (!view->list) {
        buf_text(&view->cli->out,
                 "{\"schema\":1,\"epoch\":0,\"daemon\":null,\"leases\":[],\"waiters\":[],"
                 "\"ceilings\":[]}\n");
        return 0;
    }
    if (vram_lease_list_json(view->list, &text) < 0) {
        return cli_fail_memory(view->cli);
    }
    buf_format(&view->cli->out, "%s\n", text);
    free(text);
    return 0;
}

static void add_list(struct buf *out, const char *const *texts, size_t count)
{
    struct buf list CLEANUP(buf_done) = BUF_INIT;
    for (size_t i = 0; i < count; i++) {
        buf_format(&list, "%s%s", i ? " " : "", texts[i]);
    }
    buf_char(out, ',');
    fields_csv_text(out, list.data);
    out->failed = out->failed || list.failed;
}

static void print_csv(const struct lease_view *view)
{
    struct buf *out = &view->cli->out;
    fields_csv_header(out, VRAM_OBJECT_LEASE);
    buf_text(out, ",gpus,members,attached\n");
    for (size_t i = 0; view->list && i < vram_lease_list_count(view->list); i++) {
        const struct vram_lease *lease = vram_lease_list_lease(view->list, i);
        fields_csv(out, VRAM_OBJECT_LEASE, lease);
        add_list(out, lease->gpus, lease->gpu_count);
        buf_char(out, ',');
        for (size_t j = 0; j < lease->member_count; j++) {
            buf_format(out, "%s%" PRIu64, j ? " " : "", lease->members[j]);
        }
        add_list(out, lease->attached, lease->attached_count);
        buf_char(out, '\n');
    }
}

static int print(struct lease_view *view)
{
    struct timespec now;
    if (view->cli->format == FORMAT_JSON) {
        return print_json(view);
    }
    if (view->cli->format == FORMAT_CSV) {
        print_csv(view);
        return 0;
    }
    (void)clock_gettime(CLOCK_REALTIME, &now);
    view->now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    if (view->list &&
        vram_lease_list_count(view->list) + vram_lease_list_ceiling_count(view->list) > 0) {
        /* Without it GPUs are shown by UUID and members by pid: no reason to show nothing. */
        (void)!vram_snapshot_wait(view->cli->vram, VRAM_TAKE_PROCESSES | VRAM_TAKE_COMMANDS, 0, 0,
                                  &view->snapshot);
    }
    print_text(view);
    return 0;
}

/* ---- Once ------------------------------------------------------------------------------------ */

static int show_once(struct cli *cli)
{
    struct lease_view view CLEANUP(view_done) = {.cli = cli};
    int r = vram_leases(cli->vram, 0, 0, &view.list);
    if (r < 0 && r != -ENOTCONN) {
        return cli_fail_daemon(cli, r);
    }
    int status = print(&view);
    if (status == 0 && cli->format == FORMAT_TEXT) {
        note_rest(&view);
    }
    return status;
}

/* ---- Again and again ------------------------------------------------------------------------- */

struct watching {
    struct cli *cli;
    uint64_t epoch; /* of the last answer; 0: none */
    char *shown;    /* what that one said; NULL: nothing yet */
};

/* Whether this list says something new. The epoch changes with every figure of every GPU. */
static bool is_news(struct watching *watching, const struct vram_lease_list *list)
{
    char *text = NULL;
    if (!list) {
        text = strdup("no daemon");
    } else if (vram_lease_list_json(list, &text) == 0) {
        const char *behind = strstr(text, "\"daemon\":");
        memmove(text, behind, strlen(behind) + 1);
    }
    if (!text || (watching->shown && strcmp(text, watching->shown) == 0)) {
        free(text);
        return !text; /* out of memory: rather twice than never */
    }
    free(watching->shown);
    watching->shown = text;
    return true;
}

/* One answer, shown where it is news. 0 or an exit status; *ret_failed: there was none. */
static int look(struct watching *watching, bool *ret_failed)
{
    struct cli *cli = watching->cli;
    struct lease_view view CLEANUP(view_done) = {.cli = cli};
    bool redraw = cli->format == FORMAT_TEXT && cli_screen(cli)->terminal;
    int r = vram_leases(cli->vram, watching->epoch, LOOK_MS, &view.list);
    *ret_failed = r < 0;
    if (r < 0 && r != -ENOTCONN && !watching->shown) {
        return cli_fail_daemon(cli, r);
    }
    if (r == -ECONNREFUSED) { /* killed, and perhaps started again: what is promised stays so */
        return 0;
    }
    watching->epoch = r < 0 ? 0 : vram_lease_list_epoch(view.list);
    bool news = is_news(watching, view.list);
    if (!news && !(redraw && r == 0)) {
        return 0;
    }
    cli->screen_known = false; /* terminals change their size */
    buf_text(&cli->out, redraw ? "\033[H\033[J" : "");
    int status = print(&view);
    if (status == 0 && cli->format == FORMAT_TEXT) {
        if (!redraw) {
            buf_char(&cli->out, '\n');
        }
        if (news) {
            (void)cli_flush(cli, 0, NULL); /* what is noted comes behind it */
            note_rest(&view);
        }
    }
    return status;
}

static int watch(struct cli *cli)
{
    struct watching watching = {.cli = cli};
    bool closed = false, failed;
    int status;
    stop_on(SIGINT, STATUS_YES);
    stop_on(SIGTERM, STATUS_YES);
    do {
        status = look(&watching, &failed);
        stop_hold();
        status = cli_flush(cli, status, &closed);
        stop_release();
        closed = closed || stop_closed_before(failed ? clock_now_ns() + RETRY_NS : 0);
    } while (status == 0 && !closed);
    free(watching.shown);
    return status;
}

static int run(struct cli *cli)
{
    int status = session_open(cli);
    if (status != 0) {
        return status;
    }
    session_resume(cli);
    return arguments_has(&cli->arguments, "watch") ? watch(cli) : show_once(cli);
}

static const struct option options[] = {
    {"watch", 0, NULL, "show it again whenever it changes, until stopped"},
    {NULL, 0, NULL, NULL},
};

static const uint32_t objects[] = {VRAM_OBJECT_LEASE, VRAM_OBJECT_WAITER, VRAM_OBJECT_CEILING,
                                   VRAM_OBJECT_DAEMON};

const struct command command_leases = {
    .name = "leases",
    .summary = "who holds leases, who waits, and for what",
    .arguments = "",
    .description =
        "Lists the leases with their owners: SIZE is what is promised on each GPU, HELD what the "
        "members use and OUTSTANDING what is promised and not yet allocated, both on all of its "
        "GPUs together. Then come the requests that wait, in their order, with what they wait "
        "for, and the ceilings, which keep room for programs that never ask."
        "\n\nA lease's state is shown where it is not plain: filled (its owner has allocated "
        "all it will), inherited (its owner has ended, its members hold memory still), over (its "
        "members use more than was promised), squeezed (others have grown into what was promised). "
        "Where no daemon runs nothing is leased.",
    .options = options,
    .json = "one object: schema, epoch, daemon (null where none runs), leases, each with gpus "
            "(UUIDs), members (pids) and attached, waiters and ceilings; with --watch one line for "
            "each change",
    .csv = "one row for each lease; its last columns are gpus, members and attached, with blanks "
           "between them",
    .objects = objects,
    .object_count = ARRAY_LENGTH(objects),
    .statuses = "024",
    .examples = "vram leases\twho holds what\n"
                "vram leases --watch\tuntil Ctrl-C\n"
                "vram leases --json | jq '.waiters | length'\thow many wait\n",
    .run = run,
};
