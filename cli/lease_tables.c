/* SPDX-License-Identifier: MIT */
#include "cli/lease_tables.h"

#include "cli/figures.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/telling.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* From this width on a terminal has room for all columns. */
enum { ID_SHOWN = 8, UUID_SHOWN = 12, WIDE = 110 };

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

static void add_age(struct table *table, const struct lease_view *view, uint64_t since_ns)
{
    char text[FIGURE_MAX];
    bool known = since_ns != VRAM_UNKNOWN;
    uint64_t age_ns = known && view->now_ns > since_ns ? view->now_ns - since_ns : 0;
    table_cell(table, known ? figure_age(age_ns / 1000000, text) : NULL);
}

static const struct vram_process *find_process(const struct lease_view *view, uint64_t pid)
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

/* ---- A lease's ------------------------------------------------------------------------------- */

static void add_lease_id(struct table *table, const struct lease_view *view, const void *row)
{
    const struct vram_lease *lease = row;
    (void)view;
    add_id(table, lease->id);
}

static void add_owner(struct table *table, const struct lease_view *view, const void *row)
{
    const struct vram_lease *lease = row;
    (void)view;
    add_number(table, lease->owner_pid);
}

static void add_user(struct table *table, const struct lease_view *view, const void *row)
{
    const struct vram_lease *lease = row;
    (void)view;
    table_cell(table, lease->user);
}

static void add_label(struct table *table, const struct lease_view *view, const void *row)
{
    const struct vram_lease *lease = row;
    (void)view;
    table_cell(table, lease->label);
}

/* A GPU's number, or the beginning of its UUID where the snapshot has it not. */
static const char *gpu_label(const struct lease_view *view, const char *uuid,
                             char label[GPU_LABEL_MAX])
{
    const struct vram_gpu *gpu = session_find_gpu(view->snapshot, uuid);
    if (gpu) {
        return session_gpu_label(gpu, label);
    }
    (void)snprintf(label, GPU_LABEL_MAX, "%.*s", UUID_SHOWN, uuid);
    return label;
}

static void add_gpus(struct table *table, const struct lease_view *view, const void *row)
{
    const struct vram_lease *lease = row;
    struct buf text CLEANUP(buf_done) = BUF_INIT;
    for (size_t i = 0; i < lease->gpu_count; i++) {
        char label[GPU_LABEL_MAX];
        buf_format(&text, "%s%s", i ? ", " : "", gpu_label(view, lease->gpus[i], label));
    }
    table_cell(table, text.data);
    table->failed = table->failed || text.failed;
}

static void add_size(struct table *table, const struct lease_view *view, const void *row)
{
    const struct vram_lease *lease = row;
    (void)view;
    add_bytes(table, lease->size_bytes);
}

static void add_held(struct table *table, const struct lease_view *view, const void *row)
{
    const struct vram_lease *lease = row;
    (void)view;
    add_bytes(table, lease->held_bytes);
}

static void add_outstanding(struct table *table, const struct lease_view *view, const void *row)
{
    const struct vram_lease *lease = row;
    (void)view;
    add_bytes(table, lease->outstanding_bytes);
}

static void add_since(struct table *table, const struct lease_view *view, const void *row)
{
    const struct vram_lease *lease = row;
    add_age(table, view, lease->since_ns);
}

/* "5 min", or "5 min, idle". */
static void add_end(struct table *table, const struct lease_view *view, const void *row)
{
    const struct vram_lease *lease = row;
    struct buf text CLEANUP(buf_done) = BUF_INIT;
    char age[FIGURE_MAX];
    if (lease->until && lease->until_ns != VRAM_UNKNOWN) {
        uint64_t left_ns = lease->until_ns > view->now_ns ? lease->until_ns - view->now_ns : 0;
        bool is_idle = lease->ends && strcmp(lease->ends, "idle") == 0;
        buf_format(&text, "%s%s", figure_age(left_ns / 1000000, age), is_idle ? ", idle" : "");
    }
    table_cell(table, text.data);
    table->failed = table->failed || text.failed;
}

static void add_state(struct table *table, const struct lease_view *view, const void *row)
{
    const struct vram_lease *lease = row;
    (void)view;
    bool plain = lease->state == VRAM_LEASE_OK;
    table_cell(table, plain ? NULL : vram_lease_state_name(lease->state));
}

/* "worker.py (4243), unit:x.service": all but the owner. */
static void add_members(struct table *table, const struct lease_view *view, const void *row)
{
    const struct vram_lease *lease = row;
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

/* ---- A waiter's ------------------------------------------------------------------------------ */

static void add_position(struct table *table, const struct lease_view *view, const void *row)
{
    const struct vram_waiter *waiter = row;
    (void)view;
    add_number(table, waiter->position);
}

static void add_waiter_id(struct table *table, const struct lease_view *view, const void *row)
{
    const struct vram_waiter *waiter = row;
    (void)view;
    add_id(table, waiter->id);
}

static void add_pid(struct table *table, const struct lease_view *view, const void *row)
{
    const struct vram_waiter *waiter = row;
    (void)view;
    add_number(table, waiter->pid);
}

static void add_waiter_user(struct table *table, const struct lease_view *view, const void *row)
{
    const struct vram_waiter *waiter = row;
    (void)view;
    table_cell(table, waiter->user);
}

static void add_waiter_label(struct table *table, const struct lease_view *view, const void *row)
{
    const struct vram_waiter *waiter = row;
    (void)view;
    table_cell(table, waiter->label);
}

/* Nothing where it is one, so that the column is there only where somebody wants several. */
static void add_gpu_count(struct table *table, const struct lease_view *view, const void *row)
{
    const struct vram_waiter *waiter = row;
    (void)view;
    add_number(table, waiter->gpu_count == 1 ? VRAM_UNKNOWN : waiter->gpu_count);
}

static void add_waiter_size(struct table *table, const struct lease_view *view, const void *row)
{
    const struct vram_waiter *waiter = row;
    (void)view;
    add_bytes(table, waiter->size_bytes);
}

static void add_waiting_since(struct table *table, const struct lease_view *view, const void *row)
{
    const struct vram_waiter *waiter = row;
    add_age(table, view, waiter->since_ns);
}

static void add_waits_for(struct table *table, const struct lease_view *view, const void *row)
{
    const struct vram_waiter *waiter = row;
    (void)view;
    table_cell(table, waiter->waits_for);
}

/* ---- A ceiling's ----------------------------------------------------------------------------- */

static void add_name(struct table *table, const struct lease_view *view, const void *row)
{
    (void)view;
    table_cell(table, ((const struct vram_ceiling *)row)->name);
}

static void add_match(struct table *table, const struct lease_view *view, const void *row)
{
    (void)view;
    table_cell(table, ((const struct vram_ceiling *)row)->match);
}

static void add_gpu(struct table *table, const struct lease_view *view, const void *row)
{
    const struct vram_ceiling *ceiling = row;
    char label[GPU_LABEL_MAX];
    table_cell(table, ceiling->gpu ? gpu_label(view, ceiling->gpu, label) : NULL);
}

static void add_ceiling_size(struct table *table, const struct lease_view *view, const void *row)
{
    (void)view;
    add_bytes(table, ((const struct vram_ceiling *)row)->size_bytes);
}

static void add_ceiling_held(struct table *table, const struct lease_view *view, const void *row)
{
    (void)view;
    add_bytes(table, ((const struct vram_ceiling *)row)->held_bytes);
}

static void add_kept(struct table *table, const struct lease_view *view, const void *row)
{
    (void)view;
    add_bytes(table, ((const struct vram_ceiling *)row)->outstanding_bytes);
}

/* ---- Tables ---------------------------------------------------------------------------------- */

struct column {
    struct table_column table;
    bool wide; /* left out on a narrow terminal */
    void (*add)(struct table *table, const struct lease_view *view, const void *row);
};

static const struct column lease_columns[] = {
    {{"LEASE", TABLE_KEPT}, false, add_lease_id},
    {{"OWNER", TABLE_RIGHT}, false, add_owner},
    {{"USER", 0}, true, add_user},
    {{"LABEL", TABLE_FLEXIBLE}, false, add_label},
    {{"GPU", 0}, false, add_gpus},
    {{"SIZE", TABLE_RIGHT}, false, add_size},
    {{"HELD", TABLE_RIGHT}, false, add_held},
    {{"OUTSTANDING", TABLE_RIGHT}, false, add_outstanding},
    {{"AGE", TABLE_RIGHT}, true, add_since},
    {{"ENDS IN", TABLE_RIGHT}, true, add_end},
    {{"STATE", 0}, false, add_state},
    {{"MEMBERS", TABLE_FLEXIBLE}, false, add_members},
};

static const struct column waiter_columns[] = {
    {{"WAITING", TABLE_RIGHT}, false, add_position},
    {{"ID", TABLE_KEPT}, true, add_waiter_id},
    {{"PID", TABLE_RIGHT}, false, add_pid},
    {{"USER", 0}, true, add_waiter_user},
    {{"LABEL", TABLE_FLEXIBLE}, false, add_waiter_label},
    {{"GPUS", TABLE_RIGHT}, false, add_gpu_count},
    {{"SIZE", TABLE_RIGHT}, false, add_waiter_size},
    {{"AGE", TABLE_RIGHT}, true, add_waiting_since},
    {{"WAITS FOR", TABLE_FLEXIBLE}, false, add_waits_for},
};

static const struct column ceiling_columns[] = {
    {{"CEILING", TABLE_KEPT}, false, add_name},
    {{"FOR", TABLE_FLEXIBLE}, false, add_match},
    {{"GPU", 0}, false, add_gpu},
    {{"SIZE", TABLE_RIGHT}, false, add_ceiling_size},
    {{"HELD", TABLE_RIGHT}, false, add_ceiling_held},
    {{"OUTSTANDING", TABLE_RIGHT}, false, add_kept},
};

enum { COLUMNS_MAX = ARRAY_LENGTH(lease_columns) };

static const void *lease_at(const struct vram_lease_list *list, size_t position)
{
    return vram_lease_list_lease(list, position);
}

static const void *waiter_at(const struct vram_lease_list *list, size_t position)
{
    return vram_lease_list_waiter(list, position);
}

static const void *ceiling_at(const struct vram_lease_list *list, size_t position)
{
    return vram_lease_list_ceiling(list, position);
}

static void print_table(const struct lease_view *view, const struct column *columns,
                        size_t column_count,
                        const void *(*row_at)(const struct vram_lease_list *, size_t))
{
    const struct screen *screen = cli_screen(view->cli);
    bool narrow = screen->terminal && screen->width < WIDE;
    struct table_column shown[COLUMNS_MAX];
    const struct column *used[COLUMNS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < column_count; i++) {
        if (!(columns[i].wide && narrow)) {
            shown[count] = columns[i].table;
            used[count++] = &columns[i];
        }
    }
    struct table table CLEANUP(table_done);
    table_init(&table, screen, shown, count);
    const void *row;
    for (size_t i = 0; (row = row_at(view->list, i)); i++) {
        for (size_t j = 0; j < count; j++) {
            used[j]->add(&table, view, row);
        }
    }
    table_print(&table, &view->cli->out, 0);
}

void lease_tables_leases(const struct lease_view *view)
{
    print_table(view, lease_columns, ARRAY_LENGTH(lease_columns), lease_at);
}

void lease_tables_waiters(const struct lease_view *view)
{
    print_table(view, waiter_columns, ARRAY_LENGTH(waiter_columns), waiter_at);
}

void lease_tables_ceilings(const struct lease_view *view)
{
    print_table(view, ceiling_columns, ARRAY_LENGTH(ceiling_columns), ceiling_at);
}
