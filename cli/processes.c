/* SPDX-License-Identifier: MIT */
#include "cli/processes.h"

#include "cli/fields.h"
#include "cli/figures.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/telling.h"
#include <inttypes.h>
#include <stdio.h>

/* From this width on a terminal has room for command lines. */
enum { WIDE = 100, CONTAINER_SHOWN = 12, LEASE_SHOWN = 8 };

struct column {
    struct table_column table;
    unsigned flag; /* shown only with it; 0: always */
    void (*add)(struct table *table, const struct holding *holding);
};

static void add_gpu(struct table *table, const struct holding *holding)
{
    char label[GPU_LABEL_MAX];
    table_cell(table, session_gpu_label(holding->gpu, label));
}

static void add_pid(struct table *table, const struct holding *holding)
{
    char pid[16];
    (void)snprintf(pid, sizeof(pid), "%" PRIu32, holding->process->pid);
    table_cell(table, pid);
}

static void add_user(struct table *table, const struct holding *holding)
{
    table_cell(table, holding->process->user);
}

static void add_kind(struct table *table, const struct holding *holding)
{
    table_cell(table, fields_value(VRAM_OBJECT_PROCESS, "kind", holding->process).text);
}

static void add_memory(struct table *table, const struct holding *holding)
{
    char text[FIGURE_MAX];
    table_cell(table, figure_bytes(table->screen, holding->process->used_bytes, text));
}

static void add_name(struct table *table, const struct holding *holding)
{
    struct buf name CLEANUP(buf_done) = BUF_INIT;
    telling_name(&name, holding->process);
    table_cell(table, name.data ? name.data : "");
    table->failed = table->failed || name.failed;
}

static void add_container(struct table *table, const struct holding *holding)
{
    char id[CONTAINER_SHOWN + 1];
    const char *container = holding->process->container;
    if (container) {
        (void)snprintf(id, sizeof(id), "%s", container);
    }
    table_cell(table, container ? id : NULL);
}

static void add_lease(struct table *table, const struct holding *holding)
{
    char id[LEASE_SHOWN + 1];
    const char *lease = holding->process->lease;
    if (lease) {
        (void)snprintf(id, sizeof(id), "%s", lease);
    }
    table_cell(table, lease ? id : NULL);
}

static void add_command(struct table *table, const struct holding *holding)
{
    table_cell(table, holding->process->command);
}

static const struct column columns[] = {
    {{"GPU", TABLE_RIGHT}, PROCESSES_GPU, add_gpu},
    {{"PID", TABLE_RIGHT}, 0, add_pid},
    {{"USER", TABLE_KEPT}, 0, add_user},
    {{"KIND", TABLE_KEPT}, 0, add_kind},
    {{"MEMORY", TABLE_RIGHT}, 0, add_memory},
    {{"NAME", TABLE_FLEXIBLE}, 0, add_name},
    {{"CONTAINER", 0}, 0, add_container},
    {{"LEASE", 0}, 0, add_lease},
    {{"COMMAND", TABLE_FLEXIBLE}, PROCESSES_COMMAND, add_command},
};

void processes_print(struct buf *out, const struct screen *screen, const struct holding *holdings,
                     size_t count, unsigned flags, size_t indent)
{
    struct table_column shown[ARRAY_LENGTH(columns)];
    const struct column *used[ARRAY_LENGTH(columns)];
    size_t shown_count = 0;
    if (!screen->terminal || screen->width < WIDE) {
        flags &= ~PROCESSES_COMMAND;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(columns); i++) {
        if (!columns[i].flag || (columns[i].flag & flags)) {
            shown[shown_count] = columns[i].table;
            used[shown_count++] = &columns[i];
        }
    }
    struct table table CLEANUP(table_done);
    table_init(&table, screen, shown, shown_count);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < shown_count; j++) {
            used[j]->add(&table, &holdings[i]);
        }
    }
    table_print(&table, out, indent);
}
