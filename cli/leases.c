/* SPDX-License-Identifier: MIT */
/* vram leases: who holds leases, who waits, and for what. */
#include "cli/command.h"

#include "cli/fields.h"
#include "cli/figures.h"
#include "cli/session.h"
#include "cli/stop.h"
#include "cli/table.h"
#include "cli/telling.h"
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

enum { ID_SHOWN = 8, UUID_SHOWN = 12 };

/* What is shown. */
struct view {
    struct cli *cli;
    struct vram_lease_list *list; /* NULL: no daemon runs, so nothing is leased */
    struct vram_snapshot
        *snapshot; /* of the same moment, nearly: GPUs' numbers, processes' names; may be NULL */
    uint64_t now_ns;
};

static void view_done(struct view *view)
{
    view->list = vram_lease_list_free(view->list);
    session_snapshot_done(&view->snapshot);
}

/* ---- Cells ----------------------------------------------------------------------------------- */

static void add_id(struct table *table, const char *id)
{
    char text[ID_SHOWN + 1];
    (void)snprintf(text, sizeof(text), "%s", id ? id : "");
    table_cell(table, id ? text : NULL);
}

static void add_number(struct table *table, uint64_t number)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRIu64, number);
    table_cell(table, number == VRAM_UNKNOWN ? NULL : text);
}

static void add_bytes(struct table *table, uint64_t bytes)
{
    char text[FIGURE_MAX];
    table_cell(table, figure_bytes(table->screen, bytes, text));
}

static void add_age(struct table *table, const struct view *view, uint64_t since_ns)
{
    char text[FIGURE_MAX];
    bool known = since_ns != VRAM_UNKNOWN;
    uint64_t age_ns = known && view->now_ns > since_ns ? view->now_ns - since_ns : 0;
    table_cell(table, known ? figure_age(age_ns / 1000000, text) : NULL);
}

/* "0, 1": the GPUs' numbers, or the beginnings of their UUIDs where the snapshot has them not. */
static void add_gpus(struct table *table, const struct view *view, const struct vram_lease *lease)
{
    struct buf text CLEANUP(buf_done) = BUF_INIT;
    for (size_t i = 0; i < lease->gpu_count; i++) {
        char label[GPU_LABEL_MAX];
        const struct vram_gpu *gpu = session_find_gpu(view->snapshot, lease->gpus[i]);
        if (gpu) {
            (void)session_gpu_label(gpu, label);
        } else {
            (void)snprintf(label, sizeof(label), "%.*s", UUID_SHOWN, lease->gpus[i]);
        }
        buf_format(&text, "%s%s", i ? ", " : "", label);
    }
    table_cell(table, text.data);
    table->failed = table->failed || text.failed;
}

static const struct vram_process *find_process(const struct view *view, uint64_t pid)
{
    size_t gpus = view->snapshot ? vram_snapshot_gpu_count(view->snapshot) : 0;
    for (size_t i = 0; i < gpus; i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(view->snapshot, i);
        for (size_t j = 0; j < gpu->process_count; j++) {
            if (gpu->processes[j].pid == pid) {
                return &gpu->processes[j];
            }
        }
    }
    return NULL;
}

/* "worker.py (4243), unit:x.service": all but the owner. */
static void add_members(struct table *table, const struct view *view,
                        const struct vram_lease *lease)
{
    struct buf text CLEANUP(buf_done) = BUF_INIT;
    for (size_t i = 0; i < lease->member_count; i++) {
        const struct vram_process *process = find_process(view, lease->members[i]);
        if (lease->members[i] == lease->owner_pid) {
            continue;
        }
        buf_text(&text, text.length ? ", " : "");
        if (process) {
            telling_name(&text, process);
            buf_format(&text, " (%" PRIu64 ")", lease->members[i]);
        } else {
            buf_format(&text, "%" PRIu64, lease->members[i]);
        }
    }
    for (size_t i = 0; i < lease->attached_count; i++) {
        buf_format(&text, "%s%s", text.length ? ", " : "", lease->attached[i]);
    }
    table_cell(table, text.data);
    table->failed = table->failed || text.failed;
}

/* ---- Tables ---------------------------------------------------------------------------------- */

static void print_leases(const struct view *view)
{
    static const struct table_column columns[] = {
        {"LEASE", TABLE_KEPT},
        {"OWNER", TABLE_RIGHT},
        {"USER", 0},
        {"LABEL", TABLE_FLEXIBLE},
        {"GPU", 0},
        {"SIZE", TABLE_RIGHT},
        {"HELD", TABLE_RIGHT},
        {"OUTSTANDING", TABLE_RIGHT},
        {"AGE", TABLE_RIGHT},
        {"STATE", 0},
        {"MEMBERS", TABLE_FLEXIBLE},
    };
    struct table table CLEANUP(table_done);
    table_init(&table, cli_screen(view->cli), columns, ARRAY_LENGTH(columns));
    for (size_t i = 0; i < vram_lease_list_count(view->list); i++) {
        const struct vram_lease *lease = vram_lease_list_lease(view->list, i);
        bool plain = lease->state == VRAM_LEASE_OK;
        add_id(&table, lease->id);
        add_number(&table, lease->owner_pid);
        table_cell(&table, lease->user);
        table_cell(&table, lease->label);
        add_gpus(&table, view, lease);
        add_bytes(&table, lease->size_bytes);
        add_bytes(&table, lease->held_bytes);
        add_bytes(&table, lease->outstanding_bytes);
        add_age(&table, view, lease->since_ns);
        table_cell(&table, plain ? NULL : vram_lease_state_name(lease->state));
        add_members(&table, view, lease);
    }
    table_print(&table, &view->cli->out, 0);
}

static void print_waiters(const struct view *view)
{
    static const struct table_column columns[] = {
        {"WAITING", TABLE_RIGHT},      {"ID", TABLE_KEPT},
        {"PID", TABLE_RIGHT},          {"USER", 0},
        {"LABEL", TABLE_FLEXIBLE},     {"GPUS", TABLE_RIGHT},
        {"SIZE", TABLE_RIGHT},         {"AGE", TABLE_RIGHT},
        {"WAITS FOR", TABLE_FLEXIBLE},
    };
    struct table table CLEANUP(table_done);
    table_init(&table, cli_screen(view->cli), columns, ARRAY_LENGTH(columns));
    for (size_t i = 0; i < vram_lease_list_waiter_count(view->list); i++) {
        const struct vram_waiter *waiter = vram_lease_list_waiter(view->list, i);
        add_number(&table, waiter->position);
        add_id(&table, waiter->id);
        add_number(&table, waiter->pid);
        table_cell(&table, waiter->user);
        table_cell(&table, waiter->label);
        add_number(&table, waiter->gpu_count == 1 ? VRAM_UNKNOWN : waiter->gpu_count);
        add_bytes(&table, waiter->size_bytes);
        add_age(&table, view, waiter->since_ns);
        table_cell(&table, waiter->waits_for);
    }
    table_print(&table, &view->cli->out, 0);
}

static void print_text(const struct view *view)
{
    size_t leases = view->list ? vram_lease_list_count(view->list) : 0;
    size_t waiters = view->list ? vram_lease_list_waiter_count(view->list) : 0;
    if (leases > 0) {
        print_leases(view);
    }
    if (waiters > 0) {
        buf_text(&view->cli->out, leases > 0 ? "\n" : "");
        print_waiters(view);
    }
}

/* What the tables do not say. */
static void note_rest(const struct view *view)
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
    if (vram_lease_list_count(view->list) + vram_lease_list_waiter_count(view->list) == 0) {
        cli_note(view->cli, "nothing is leased and nobody waits");
    }
}

/* ---- For programs ---------------------------------------------------------------------------- */

static int print_json(const struct view *view)
{
    char *text = NULL;
    if (!view->list) {
        buf_text(&view->cli->out,
                 "{\"schema\":1,\"epoch\":0,\"daemon\":null,\"leases\":[],\"waiters\":[]}\n");
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

static void print_csv(const struct view *view)
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

static int print(struct view *view)
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
    if (view->list && vram_lease_list_count(view->list) > 0) {
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
    struct view view CLEANUP(view_done) = {.cli = cli};
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
    struct view view CLEANUP(view_done) = {.cli = cli};
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

static const uint32_t objects[] = {VRAM_OBJECT_LEASE, VRAM_OBJECT_WAITER, VRAM_OBJECT_DAEMON};

const struct command command_leases = {
    .name = "leases",
    .summary = "who holds leases, who waits, and for what",
    .arguments = "",
    .description =
        "Lists the leases with their owners: SIZE is what is promised on each GPU, HELD what the "
        "members use and OUTSTANDING what is promised and not yet allocated, both on all of its "
        "GPUs together. Then come the requests that wait, in their order, with what they wait "
        "for.\n\nA lease's state is shown where it is not plain: filled (its owner has allocated "
        "all it will), inherited (its owner has ended, its members hold memory still), over (its "
        "members use more than was promised), squeezed (others have grown into what was promised). "
        "Where no daemon runs nothing is leased.",
    .options = options,
    .json = "one object: schema, epoch, daemon (null where none runs), leases, each with gpus "
            "(UUIDs), members (pids) and attached, and waiters; with --watch one line for each "
            "change",
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
