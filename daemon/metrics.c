/* SPDX-License-Identifier: MIT */
#include "daemon/metrics.h"

#include "common/gpu_name.h"
#include <stdio.h>
#include <string.h>

/* ---- Leases ---------------------------------------------------------------------------------- */

static const char *find_gpu(const struct vram_snapshot *snapshot, const char *uuid,
                            char label[GPU_NAME_LABEL_MAX])
{
    for (size_t i = 0; snapshot && i < vram_snapshot_gpu_count(snapshot); i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, i);
        if (gpu->uuid && strcmp(gpu->uuid, uuid) == 0) {
            return gpu_name_label(gpu->index, gpu->mig_index, label);
        }
    }
    return "";
}

static uint64_t size_of(const struct metrics_share *share)
{
    return share->size_bytes;
}

static uint64_t held_of(const struct metrics_share *share)
{
    return share->held_bytes;
}

static uint64_t outstanding_of(const struct metrics_share *share)
{
    return share->outstanding_bytes;
}

static void write_shares(struct exposition *out, const struct metrics_facts *facts)
{
    static const struct {
        struct exposition_family family;
        uint64_t (*value)(const struct metrics_share *share);
    } figures[] = {
        {{"vram_lease_size_bytes", EXPOSITION_GAUGE, "Memory that a lease promises on a GPU."},
         size_of},
        {{"vram_lease_held_bytes", EXPOSITION_GAUGE, "Memory that a lease's members use there."},
         held_of},
        {{"vram_lease_outstanding_bytes", EXPOSITION_GAUGE,
          "Memory that is promised and not yet allocated."},
         outstanding_of},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(figures); i++) {
        exposition_begin(out, &figures[i].family);
        for (size_t j = 0; j < facts->leases.count; j++) {
            const struct metrics_share *share = &facts->leases.shares[j];
            char label[GPU_NAME_LABEL_MAX];
            const struct exposition_label labels[] = {
                {"gpu", find_gpu(facts->snapshot, share->uuid, label)},
                {"uuid", share->uuid},
                {"lease", share->lease},
                {"user", share->user}};
            exposition_number(out, labels, ARRAY_LENGTH(labels), figures[i].value(share));
        }
    }
}

static void write_each_lease(struct exposition *out, const struct metrics_leases *leases)
{
    static const struct exposition_family info = {"vram_lease_info", EXPOSITION_INFO,
                                                  "What its owner calls a lease."},
                                          expiry = {"vram_lease_expiry_timestamp_seconds",
                                                    EXPOSITION_GAUGE,
                                                    "When a lease ends by itself, since 1970."};
    exposition_begin(out, &info);
    for (size_t i = 0; i < leases->count; i++) {
        const struct metrics_share *share = &leases->shares[i];
        const struct exposition_label labels[] = {
            {"lease", share->lease}, {"user", share->user}, {"label", share->label}};
        if (share->first) {
            exposition_number(out, labels, ARRAY_LENGTH(labels), 1);
        }
    }
    exposition_begin(out, &expiry);
    for (size_t i = 0; i < leases->count; i++) {
        const struct metrics_share *share = &leases->shares[i];
        const struct exposition_label labels[] = {{"lease", share->lease}, {"user", share->user}};
        if (share->first) {
            exposition_nanoseconds(out, labels, ARRAY_LENGTH(labels), share->until_ns);
        }
    }
}

static void write_leases(struct exposition *out, const struct metrics_facts *facts)
{
    static const struct exposition_family states = {"vram_leases", EXPOSITION_GAUGE,
                                                    "Leases by their state."},
                                          waiters = {"vram_waiters", EXPOSITION_GAUGE,
                                                     "Requests that wait for their turn."},
                                          omitted = {"vram_leases_omitted", EXPOSITION_GAUGE,
                                                     "Leases without a series of their own."};
    const struct metrics_leases *leases = &facts->leases;
    exposition_begin(out, &states);
    for (uint32_t i = 0; i < METRICS_STATES; i++) {
        const struct exposition_label labels[] = {{"state", vram_lease_state_name(i)}};
        exposition_number(out, labels, ARRAY_LENGTH(labels), leases->states[i]);
    }
    exposition_begin(out, &omitted);
    exposition_number(out, NULL, 0, leases->omitted);
    exposition_begin(out, &waiters);
    exposition_number(out, NULL, 0, leases->waiters);
    write_shares(out, facts);
    write_each_lease(out, leases);
}

static void write_requests(struct exposition *out, const struct metrics_leases *leases)
{
    static const struct exposition_family family = {
        "vram_lease_requests_total", EXPOSITION_COUNTER,
        "Requests for leases that were answered, by their verdict."};
    static const char *const verdicts[METRICS_VERDICTS] = {"granted", "not_now",   "never",
                                                           "unknown", "timed_out", "failed"};
    exposition_begin(out, &family);
    for (size_t i = 0; i < METRICS_VERDICTS; i++) {
        const struct exposition_label labels[] = {{"result", verdicts[i]}};
        exposition_number(out, labels, ARRAY_LENGTH(labels), leases->verdicts[i]);
    }
}

static void write_holders(struct exposition *out, const struct metrics_leases *leases)
{
    static const struct exposition_family asked = {"vram_holder_asks_total", EXPOSITION_COUNTER,
                                                   "How often idle holders were asked to give "
                                                   "memory back, by what came of it."},
                                          returned = {"vram_holder_returned_bytes_total",
                                                      EXPOSITION_COUNTER,
                                                      "What came back of holders that were asked."};
    static const char *const outcomes[METRICS_OUTCOMES] = {"gave_back", "nothing", "busy"};
    exposition_begin(out, &asked);
    for (size_t i = 0; i < leases->holder_count; i++) {
        for (size_t j = 0; j < METRICS_OUTCOMES; j++) {
            const struct exposition_label labels[] = {{"holder", leases->holders[i].name},
                                                      {"result", outcomes[j]}};
            exposition_number(out, labels, ARRAY_LENGTH(labels), leases->holders[i].outcomes[j]);
        }
    }
    exposition_begin(out, &returned);
    for (size_t i = 0; i < leases->holder_count; i++) {
        const struct exposition_label labels[] = {{"holder", leases->holders[i].name}};
        exposition_number(out, labels, ARRAY_LENGTH(labels), leases->holders[i].returned_bytes);
    }
}

/* ---- What was -------------------------------------------------------------------------------- */

/* Of the GPUs that tell their memory: one that is stale, or shares another's, does not. */
static void write_peaks(struct exposition *out, const struct metrics_facts *facts)
{
    static const struct exposition_family family = {
        "vram_used_peak_bytes", EXPOSITION_GAUGE,
        "The most that was seen to be used within the window, as far as it was looked at."};
    size_t count = facts->snapshot && !facts->stale ? vram_snapshot_gpu_count(facts->snapshot) : 0;
    exposition_begin(out, &family);
    for (size_t i = 0; i < count; i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(facts->snapshot, i);
        char label[GPU_NAME_LABEL_MAX];
        bool tells = gpu->uuid && gpu->state == VRAM_GPU_OK;
        for (size_t j = 0; j < i; j++) {
            tells = tells && vram_snapshot_gpu(facts->snapshot, j)->pool != gpu->pool;
        }
        if (tells) {
            const struct exposition_label labels[] = {
                {"gpu", gpu_name_label(gpu->index, gpu->mig_index, label)},
                {"uuid", gpu->uuid},
                {"window", "1m"}};
            exposition_number(out, labels, ARRAY_LENGTH(labels),
                              peaks_find(facts->peaks, facts->now_ns, gpu->uuid));
        }
    }
}

static void write_gpu_events(struct exposition *out, const struct history_counts *counts)
{
    static const struct exposition_family family = {"vram_events_total", EXPOSITION_COUNTER,
                                                    "What has happened on a GPU, by its kind."};
    exposition_begin(out, &family);
    for (size_t i = 0; i < counts->gpu_count; i++) {
        const struct history_count *count = &counts->gpus[i];
        char label[GPU_NAME_LABEL_MAX];
        (void)gpu_name_label(count->index, count->mig_index, label);
        for (uint32_t kind = 0; kind < HISTORY_KINDS; kind++) {
            const struct exposition_label labels[] = {
                {"gpu", label}, {"uuid", count->uuid}, {"event", history_kind_name(kind)}};
            if (history_kind_is_of_gpu(kind)) {
                exposition_number(out, labels, ARRAY_LENGTH(labels), count->kinds[kind]);
            }
        }
    }
}

static void write_lease_events(struct exposition *out, const struct history_counts *counts)
{
    static const struct exposition_family family = {"vram_lease_events_total", EXPOSITION_COUNTER,
                                                    "What has happened to leases, by its kind."};
    exposition_begin(out, &family);
    for (uint32_t kind = 0; kind < HISTORY_KINDS; kind++) {
        const struct exposition_label labels[] = {{"event", history_kind_name(kind)}};
        if (history_kind_is_of_lease(kind)) {
            exposition_number(out, labels, ARRAY_LENGTH(labels), counts->kinds[kind]);
        }
    }
}

static void write_commands(struct exposition *out, const uint64_t *results)
{
    static const struct exposition_family family = {
        "vram_event_commands_total", EXPOSITION_COUNTER,
        "Runs of the command for events, by what came of them."};
    static const char *const names[HOOK_RESULTS] = {[HOOK_DONE] = "done",
                                                    [HOOK_FAILED] = "failed",
                                                    [HOOK_TIMED_OUT] = "timed_out",
                                                    [HOOK_DROPPED] = "dropped"};
    exposition_begin(out, &family);
    for (size_t i = 0; i < HOOK_RESULTS; i++) {
        const struct exposition_label labels[] = {{"result", names[i]}};
        exposition_number(out, labels, ARRAY_LENGTH(labels), results[i]);
    }
}

static void write_history(struct exposition *out, const struct metrics_facts *facts)
{
    static const struct exposition_family size = {"vram_history_size_bytes", EXPOSITION_GAUGE,
                                                  "What the history takes in its file."},
                                          since = {"vram_history_oldest_timestamp_seconds",
                                                   EXPOSITION_GAUGE,
                                                   "Since when there is history, since 1970."};
    if (facts->counts) {
        write_gpu_events(out, facts->counts);
        write_lease_events(out, facts->counts);
    }
    if (facts->commands) {
        write_commands(out, facts->commands);
    }
    exposition_begin(out, &size);
    exposition_number(out, NULL, 0, facts->history_bytes);
    exposition_begin(out, &since);
    exposition_nanoseconds(out, NULL, 0, facts->history_since_ns);
}

/* ---- The collector --------------------------------------------------------------------------- */

static void write_collector(struct exposition *out, const struct metrics_facts *facts)
{
    static const struct exposition_family
        success = {"vram_collect_success", EXPOSITION_GAUGE,
                   "Whether the driver answered when it was asked last."},
        last = {"vram_collect_last_success_timestamp_seconds", EXPOSITION_GAUGE,
                "When the driver answered last, since 1970."},
        duration = {"vram_collect_last_duration_seconds", EXPOSITION_GAUGE,
                    "How long it took to ask the driver last."},
        running = {"vram_collect_running_seconds", EXPOSITION_GAUGE,
                   "How long the driver has been asked for now; 0 where it is not."},
        errors = {"vram_collect_errors_total", EXPOSITION_COUNTER,
                  "How often the driver was asked in vain."};
    static const char *const reasons[METRICS_FAILURES] = {
        [METRICS_TIMEOUT] = "timeout", [METRICS_ENDED] = "ended", [METRICS_DRIVER] = "driver"};
    const struct metrics_collector *collector = &facts->collector;
    const struct exposition_label labels[] = {{"backend", facts->backend}, {"reason", NULL}};
    if (collector->tried) {
        exposition_begin(out, &success);
        exposition_number(out, labels, 1, collector->succeeded);
        exposition_begin(out, &duration);
        exposition_nanoseconds(out, labels, 1, collector->duration_ns);
    }
    if (collector->succeeded_at_ns) {
        exposition_begin(out, &last);
        exposition_nanoseconds(out, labels, 1, collector->succeeded_at_ns);
    }
    exposition_begin(out, &running);
    exposition_nanoseconds(out, labels, 1, collector->running_ns);
    exposition_begin(out, &errors);
    for (size_t i = 0; i < METRICS_FAILURES; i++) {
        const struct exposition_label of[] = {labels[0], {"reason", reasons[i]}};
        exposition_number(out, of, ARRAY_LENGTH(of), collector->failures[i]);
    }
}

/* ---- The daemon ------------------------------------------------------------------------------ */

static void write_http(struct exposition *out, const struct http_counts *counts)
{
    static const struct exposition_family family = {
        "vram_http_requests_total", EXPOSITION_COUNTER,
        "Requests that were answered, by route and status."};
    exposition_begin(out, &family);
    for (size_t i = 0; i < counts->count; i++) {
        const struct http_count *count = &counts->counts[i];
        char code[16];
        (void)snprintf(code, sizeof(code), "%d", count->status);
        const struct exposition_label labels[] = {{"handler", count->route}, {"code", code}};
        exposition_number(out, labels, ARRAY_LENGTH(labels), count->number);
    }
}

static void write_one(struct exposition *out, const struct exposition_family *family,
                      uint64_t number)
{
    exposition_begin(out, family);
    exposition_number(out, NULL, 0, number);
}

/* Under the names that every exporter has for them. */
static void write_self(struct exposition *out, const struct metrics_self *self)
{
    static const struct exposition_family
        cpu = {"process_cpu_seconds_total", EXPOSITION_COUNTER, "CPU time of the daemon."},
        started = {"process_start_time_seconds", EXPOSITION_GAUGE,
                   "When the daemon was started, since 1970."},
        resident = {"process_resident_memory_bytes", EXPOSITION_GAUGE,
                    "Memory of the daemon that is in use."},
        virtual = {"process_virtual_memory_bytes", EXPOSITION_GAUGE,
                   "Address space of the daemon."},
        descriptors = {"process_open_fds", EXPOSITION_GAUGE, "Descriptors that it has open."},
        most = {"process_max_fds", EXPOSITION_GAUGE, "Descriptors that it may have open."};
    exposition_begin(out, &cpu);
    exposition_nanoseconds(out, NULL, 0, self->cpu_ns);
    exposition_begin(out, &started);
    exposition_nanoseconds(out, NULL, 0, self->started_ns);
    write_one(out, &resident, self->resident_bytes);
    write_one(out, &virtual, self->virtual_bytes);
    write_one(out, &descriptors, self->descriptors);
    write_one(out, &most, self->descriptors_max);
}

void metrics_write(struct exposition *out, const struct metrics_facts *facts)
{
    static const struct exposition_family promising = {"vram_promising", EXPOSITION_GAUGE,
                                                       "Whether memory is promised at present."};
    write_one(out, &promising, facts->promising);
    if (facts->leases.known) {
        write_leases(out, facts);
    }
    write_requests(out, &facts->leases);
    write_holders(out, &facts->leases);
    write_peaks(out, facts);
    write_history(out, facts);
    write_collector(out, facts);
    write_http(out, facts->http);
    write_self(out, &facts->self);
}
