/* SPDX-License-Identifier: MIT */
#include "cli/why_tell.h"

#include "cli/figures.h"
#include "cli/moments.h"
#include "cli/text.h"
#include "common/gpu_name.h"
#include "common/json.h"
#include "common/utc.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define GROWN_SHOWN 5
#define EVENTS_SHOWN 20
#define GROWN_LEAST ((uint64_t)16 << 20) /* less is no growth that explains anything */
enum { LABEL_WIDTH = 10 };

bool why_gpu_is_known(const struct why *why, const struct past_gpu *gpu)
{
    for (size_t i = 0; i < why->memory.step_count; i++) {
        if (gpu->max[i] != VRAM_UNKNOWN) {
            return true;
        }
    }
    return false;
}

/* Of the steps around the moment: unknown amounts are the largest numbers, and larger than none. */
static uint64_t least_of(const struct why *why, const uint64_t *column)
{
    uint64_t least = VRAM_UNKNOWN;
    for (size_t i = 0; i < why->memory.step_count; i++) {
        least = column[i] < least ? column[i] : least;
    }
    return least;
}

static uint64_t most_of(const struct why *why, const uint64_t *column)
{
    uint64_t most = VRAM_UNKNOWN;
    for (size_t i = 0; i < why->memory.step_count; i++) {
        if (column[i] != VRAM_UNKNOWN && (most == VRAM_UNKNOWN || column[i] > most)) {
            most = column[i];
        }
    }
    return most;
}

static bool is_on(const char *uuid, const struct past_gpu *gpu)
{
    return uuid && gpu->uuid && strcmp(uuid, gpu->uuid) == 0;
}

static uint64_t growth_of(const struct past_process *process)
{
    bool known = process->from_bytes != VRAM_UNKNOWN && process->most_bytes != VRAM_UNKNOWN;
    return known && process->most_bytes > process->from_bytes
               ? process->most_bytes - process->from_bytes
               : 0;
}

/* ---- Words ----------------------------------------------------------------------------------- */

static void add_text(struct cli *cli, const char *text)
{
    text_safe(&cli->out, text ? text : "?", cli_screen(cli)->utf8);
}

/* "  free      ", or as many blanks under it. */
static void begin_line(struct cli *cli, const char *label)
{
    const struct screen *screen = cli_screen(cli);
    buf_format(&cli->out, "  %s%s%s", screen_style(screen, STYLE_FAINT), label,
               screen_plain(screen));
    text_blanks(&cli->out, LABEL_WIDTH - strlen(label));
}

static const char *bytes_text(struct cli *cli, uint64_t bytes, char text[FIGURE_MAX])
{
    return figure_bytes(cli_screen(cli), bytes, text);
}

/* "python3 (4242, ada)" */
static void add_who(struct cli *cli, const char *name, uint64_t pid, const char *user)
{
    add_text(cli, name);
    buf_format(&cli->out, " (%" PRIu64 "%s", pid, user ? ", " : "");
    if (user) {
        add_text(cli, user);
    }
    buf_char(&cli->out, ')');
}

static void add_time(struct cli *cli, const struct why *why, int64_t ms)
{
    char text[MOMENT_MAX];
    buf_text(&cli->out, moment_short(ms, why->at_ms, true, text));
}

/* ---- A GPU ----------------------------------------------------------------------------------- */

static const struct past_event *find_trouble(const struct why *why, const struct past_gpu *gpu,
                                             const char *kind, uint64_t pid)
{
    for (size_t i = 0; i < why->events.count; i++) {
        const struct past_event *event = &why->events.events[i];
        if (strcmp(event->kind, kind) == 0 && is_on(event->gpu, gpu) &&
            (!pid || event->pid == pid)) {
            return event;
        }
    }
    return NULL;
}

static void tell_free(struct cli *cli, const struct why *why, const struct past_gpu *gpu)
{
    char least[FIGURE_MAX], total[FIGURE_MAX], used[FIGURE_MAX];
    begin_line(cli, "free");
    buf_format(&cli->out, "%s of %s at the least in those %" PRIu64 " s; %s in use at the most\n",
               bytes_text(cli, least_of(why, gpu->free), least),
               bytes_text(cli, gpu->total_bytes, total), why->step_s * why->memory.step_count,
               bytes_text(cli, most_of(why, gpu->max), used));
    const struct past_event *full = find_trouble(why, gpu, "nearly_full", 0);
    if (full) {
        begin_line(cli, "");
        buf_format(&cli->out, "nearly full at ");
        add_time(cli, why, full->at_ms);
        buf_format(&cli->out, ", with %s free\n", bytes_text(cli, full->bytes, least));
    }
}

static void tell_growth(struct cli *cli, const struct past_process *process, const char *label)
{
    char grown[FIGURE_MAX], most[FIGURE_MAX];
    begin_line(cli, label);
    add_who(cli, process->name, process->pid, process->user);
    buf_format(&cli->out, " +%s to %s", bytes_text(cli, growth_of(process), grown),
               bytes_text(cli, process->most_bytes, most));
    if (process->lease) {
        buf_text(&cli->out, ", lease ");
        add_text(cli, process->lease);
    }
    buf_char(&cli->out, '\n');
}

/* Those that grew by less than `below`, most first: the next of them. */
static const struct past_process *next_grown(const struct why *why, const struct past_gpu *gpu,
                                             const struct past_process *before)
{
    const struct past_process *next = NULL;
    for (size_t i = 0; i < why->grown.count; i++) {
        const struct past_process *process = &why->grown.processes[i];
        uint64_t growth = growth_of(process);
        bool behind = !before || growth < growth_of(before) ||
                      (growth == growth_of(before) && process > before);
        if (is_on(process->gpu, gpu) && growth >= GROWN_LEAST && behind &&
            (!next || growth > growth_of(next))) {
            next = process;
        }
    }
    return next;
}

static void tell_grown(struct cli *cli, const struct why *why, const struct past_gpu *gpu)
{
    const struct past_process *process = NULL;
    size_t shown = 0;
    while (shown < GROWN_SHOWN && (process = next_grown(why, gpu, process))) {
        tell_growth(cli, process, shown++ ? "" : "grew");
    }
    if (shown == 0) {
        begin_line(cli, "grew");
        buf_text(&cli->out, "no process, in the ten minutes before\n");
    }
}

static void tell_ended(struct cli *cli, const struct why *why, const struct past_gpu *gpu)
{
    char held[FIGURE_MAX];
    size_t shown = 0;
    for (size_t i = 0; i < why->ended.count && shown < GROWN_SHOWN; i++) {
        const struct past_process *process = &why->ended.processes[i];
        if (!is_on(process->gpu, gpu) || process->ended_ms == PAST_NEVER ||
            process->ended_ms >= why->to_ms) {
            continue;
        }
        begin_line(cli, shown++ ? "" : "ended");
        add_who(cli, process->name, process->pid, process->user);
        buf_text(&cli->out, " at ");
        add_time(cli, why, process->ended_ms);
        buf_format(&cli->out, ", with %s%s\n", bytes_text(cli, process->last_bytes, held),
                   find_trouble(why, gpu, "oom_suspected", process->pid)
                       ? ": probably out of memory"
                       : "");
    }
}

static bool stood(const struct past_lease *lease, const struct past_gpu *gpu)
{
    return lease->granted_ms != PAST_NEVER &&
           (lease->gpu_count != 1 || is_on(lease->first_gpu, gpu));
}

static void tell_leases(struct cli *cli, const struct why *why, const struct past_gpu *gpu)
{
    char size[FIGURE_MAX];
    size_t shown = 0;
    for (size_t i = 0; i < why->leases.count; i++) {
        const struct past_lease *lease = &why->leases.leases[i];
        if (!stood(lease, gpu) || lease->granted_ms > why->at_ms) {
            continue;
        }
        begin_line(cli, shown++ ? "" : "leases");
        add_text(cli, lease->label ? lease->label : lease->id);
        buf_text(&cli->out, " (");
        add_text(cli, lease->user);
        buf_format(&cli->out, ") of %s since ", bytes_text(cli, lease->size_bytes, size));
        add_time(cli, why, lease->granted_ms);
        buf_char(&cli->out, '\n');
    }
    if (shown == 0) {
        begin_line(cli, "leases");
        buf_text(&cli->out, "none stood\n");
    }
}

static void tell_gpu(struct cli *cli, const struct why *why, const struct past_gpu *gpu)
{
    char at[MOMENT_MAX], label[GPU_NAME_LABEL_MAX];
    buf_format(&cli->out, "GPU %s (", gpu_name_label((uint32_t)gpu->index, gpu->mig_index, label));
    add_text(cli, gpu->name ? gpu->name : gpu->uuid);
    buf_format(&cli->out, "), %s\n", moment_text(why->at_ms, at));
    tell_free(cli, why, gpu);
    tell_grown(cli, why, gpu);
    tell_ended(cli, why, gpu);
    tell_leases(cli, why, gpu);
}

/* ---- Events ---------------------------------------------------------------------------------- */

/* What a kind is called in a sentence; what is not in here is told by its word. */
static const char *words_for(const char *kind)
{
    static const struct {
        const char *kind, *words;
    } table[] = {
        {"nearly_full", "is nearly full"},
        {"oom_suspected", "has ended, probably out of memory"},
        {"process_started", "holds memory"},
        {"process_ended", "has ended"},
        {"lease_queued", "waits for its turn"},
        {"lease_granted", "is granted"},
        {"lease_ended", "has ended"},
        {"lease_over", "is exceeded by its members"},
        {"lease_squeezed", "is squeezed by others"},
        {"gpu_lost", "is lost"},
        {"gpu_back", "is back"},
        {"clock_changed", "the clock was changed"},
        {"daemon_started", "vramd starts"},
        {"daemon_stopped", "vramd ends"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        if (strcmp(table[i].kind, kind) == 0) {
            return table[i].words;
        }
    }
    return kind;
}

static void tell_event(struct cli *cli, const struct why *why, const struct past_event *event)
{
    char bytes[FIGURE_MAX], label[GPU_NAME_LABEL_MAX];
    buf_text(&cli->out, "  ");
    add_time(cli, why, event->at_ms);
    buf_text(&cli->out, "  ");
    if (strcmp(event->kind, "holder_asked") == 0) { /* its text says it all */
        add_text(cli, event->text);
        buf_char(&cli->out, '\n');
        return;
    }
    if (event->lease) {
        buf_text(&cli->out, "lease ");
        add_text(cli, event->name ? event->name : event->lease);
        buf_char(&cli->out, ' ');
    } else if (event->pid != VRAM_UNKNOWN) {
        add_who(cli, event->name, event->pid, event->user);
        buf_char(&cli->out, ' ');
    } else if (event->gpu) {
        buf_format(&cli->out, "GPU %s ",
                   gpu_name_label((uint32_t)event->gpu_index, event->gpu_mig_index, label));
    }
    buf_text(&cli->out, words_for(event->kind));
    if (event->bytes != VRAM_UNKNOWN) {
        bool is_free = strcmp(event->kind, "nearly_full") == 0;
        buf_format(&cli->out, ", %s%s", bytes_text(cli, event->bytes, bytes),
                   is_free ? " free" : "");
    }
    if (event->text) {
        buf_text(&cli->out, ": ");
        add_text(cli, event->text);
    }
    buf_char(&cli->out, '\n');
}

/* In their order; of too many those nearest to the end, which came of it. */
static void tell_events(struct cli *cli, const struct why *why)
{
    size_t count = why->events.count < EVENTS_SHOWN ? why->events.count : EVENTS_SHOWN;
    if (count > 0) {
        buf_text(&cli->out, "\nAround it\n");
    }
    for (size_t i = count; i-- > 0;) {
        tell_event(cli, why, &why->events.events[i]);
    }
    if (why->events.count > count) {
        cli_note(cli, "%zu earlier events are not shown; --json has them",
                 why->events.count - count);
    }
}

void why_print_text(struct cli *cli, const struct why *why)
{
    bool first = true;
    for (size_t i = 0; i < why->memory.count; i++) {
        if (why_gpu_is_known(why, &why->memory.gpus[i])) {
            buf_text(&cli->out, first ? "" : "\n");
            tell_gpu(cli, why, &why->memory.gpus[i]);
            first = false;
        }
    }
    tell_events(cli, why);
}

/* ---- For programs ---------------------------------------------------------------------------- */

static void write_bytes(struct json *json, const char *key, uint64_t bytes)
{
    if (bytes == VRAM_UNKNOWN) {
        json_null(json, key);
    } else {
        json_number(json, key, bytes);
    }
}

static void write_gpus(struct json *json, const struct why *why)
{
    json_array(json, "gpus");
    for (size_t i = 0; i < why->memory.count; i++) {
        const struct past_gpu *gpu = &why->memory.gpus[i];
        json_object(json, NULL);
        json_text(json, "uuid", gpu->uuid);
        write_bytes(json, "index", gpu->index);
        write_bytes(json, "mig_index", gpu->mig_index);
        json_text(json, "name", gpu->name);
        write_bytes(json, "total_bytes", gpu->total_bytes);
        write_bytes(json, "max_bytes", most_of(why, gpu->max));
        write_bytes(json, "free_bytes", least_of(why, gpu->free));
        json_end_object(json);
    }
    json_end_array(json);
}

static void write_document(struct json *json, const void *document)
{
    struct buf buf CLEANUP(buf_done) = BUF_INIT;
    past_print(&buf, document);
    if (buf.data && !buf.failed) {
        json_raw(json, NULL, buf.data, buf.length);
    } else {
        json->buf->failed = true;
    }
}

static void write_grown(struct json *json, const struct why *why)
{
    json_array(json, "grew");
    for (size_t i = 0; i < why->memory.count; i++) {
        const struct past_process *process = NULL;
        while ((process = next_grown(why, &why->memory.gpus[i], process))) {
            write_document(json, process->document);
        }
    }
    json_end_array(json);
}

void why_print_json(struct buf *out, const struct why *why)
{
    char at[UTC_TEXT_MAX];
    struct json json = JSON_INIT(out);
    json_object(&json, NULL);
    json_number(&json, "schema", 1);
    json_text(&json, "at", utc_format((uint64_t)why->at_ms * 1000000, at));
    write_gpus(&json, why);
    write_grown(&json, why);
    json_array(&json, "ended");
    for (size_t i = 0; i < why->ended.count; i++) {
        const struct past_process *process = &why->ended.processes[i];
        if (process->ended_ms != PAST_NEVER && process->ended_ms < why->to_ms) {
            write_document(&json, process->document);
        }
    }
    json_end_array(&json);
    json_array(&json, "leases");
    for (size_t i = 0; i < why->leases.count; i++) {
        write_document(&json, why->leases.leases[i].document);
    }
    json_end_array(&json);
    json_array(&json, "events");
    for (size_t i = 0; i < why->events.count; i++) {
        write_document(&json, why->events.events[i].document);
    }
    json_end_array(&json);
    json_end_object(&json);
    buf_char(out, '\n');
}
