/* SPDX-License-Identifier: MIT */
#include "lib/lease_record.h"

#include <string.h>

static struct vram_daemon read_daemon(struct wire *wire, const json_t *from)
{
    return (struct vram_daemon){
        .pid = wire_number(wire, from, "pid"),
        .version = wire_text(wire, from, "version"),
        .driver = wire_text(wire, from, "driver"),
        .promising = wire_truth(wire, from, "promising"),
        .paused = wire_truth(wire, from, "paused"),
        .reason = wire_text(wire, from, "reason"),
        .message = wire_text(wire, from, "message"),
        .since = wire_text(wire, from, "since"),
        .margin_bytes = wire_number(wire, from, "margin_bytes"),
    };
}

static struct vram_lease read_lease(struct wire *wire, const json_t *from)
{
    struct vram_lease lease = {
        .id = wire_text(wire, from, "id"),
        .owner_pid = wire_number(wire, from, "owner_pid"),
        .user = wire_text(wire, from, "user"),
        .label = wire_text(wire, from, "label"),
        .size_bytes = wire_number(wire, from, "size_bytes"),
        .held_bytes = wire_number(wire, from, "held_bytes"),
        .outstanding_bytes = wire_number(wire, from, "outstanding_bytes"),
        .since = wire_text(wire, from, "since"),
        .until = wire_text(wire, from, "until"),
        .ends = wire_text(wire, from, "ends"),
        .state = wire_word(wire, from, "state", vram_lease_state_name, VRAM_LEASE_SQUEEZED + 1),
        .since_ns = wire_moment(wire, from, "since"),
        .until_ns = wire_moment(wire, from, "until"),
    };
    lease.gpus = wire_texts(wire, from, "gpus", &lease.gpu_count);
    lease.members = wire_numbers(wire, from, "members", &lease.member_count);
    lease.attached = wire_texts(wire, from, "attached", &lease.attached_count);
    wire->bad =
        wire->bad || !json_is_string(json_object_get(from, "id")); /* the rest may be unknown */
    return lease;
}

static struct vram_waiter read_waiter(struct wire *wire, const json_t *from)
{
    return (struct vram_waiter){
        .position = wire_number(wire, from, "position"),
        .id = wire_text(wire, from, "id"),
        .pid = wire_number(wire, from, "pid"),
        .user = wire_text(wire, from, "user"),
        .label = wire_text(wire, from, "label"),
        .gpu_count = wire_number(wire, from, "gpu_count"),
        .size_bytes = wire_number(wire, from, "size_bytes"),
        .since = wire_text(wire, from, "since"),
        .waits_for = wire_text(wire, from, "waits_for"),
        .since_ns = wire_moment(wire, from, "since"),
    };
}

static struct vram_ceiling read_ceiling(struct wire *wire, const json_t *from)
{
    return (struct vram_ceiling){
        .name = wire_text(wire, from, "name"),
        .match = wire_text(wire, from, "match"),
        .gpu = wire_text(wire, from, "gpu"),
        .size_bytes = wire_number(wire, from, "size_bytes"),
        .held_bytes = wire_number(wire, from, "held_bytes"),
        .outstanding_bytes = wire_number(wire, from, "outstanding_bytes"),
    };
}

/* Of a daemon that knows none there is no list. */
static const struct vram_ceiling *read_ceilings(struct wire *wire, const json_t *from, size_t count)
{
    struct vram_ceiling *to = WIRE_ARRAY(wire, struct vram_ceiling, count);
    for (size_t i = 0; i < count; i++) {
        struct vram_ceiling ceiling = read_ceiling(wire, json_array_get(from, i));
        if (to) {
            to[i] = ceiling;
        }
    }
    return to;
}

/* ---- The arithmetic -------------------------------------------------------------------------- */

static bool is_chosen(const json_t *fit, const char *uuid)
{
    const json_t *chosen = json_object_get(fit, "gpus_chosen");
    for (size_t i = 0; uuid && i < json_array_size(chosen); i++) {
        const char *text = json_string_value(json_array_get(chosen, i));
        if (text && strcmp(text, uuid) == 0) {
            return true;
        }
    }
    return false;
}

static struct vram_fit_gpu read_line(struct wire *wire, const json_t *fit, const json_t *from)
{
    const json_t *headroom = json_object_get(from, "headroom_bytes");
    struct vram_fit_gpu line = {
        .position = SIZE_MAX,
        .answer = wire_word(wire, from, "answer", vram_answer_name, VRAM_CANNOT_TELL),
        .usable = wire_truth(wire, from, "usable"),
        .uuid = wire_text(wire, from, "uuid"),
        .free_bytes = wire_number(wire, from, "free_bytes"),
        .outstanding_bytes = wire_number(wire, from, "outstanding_bytes"),
        .margin_bytes = wire_number(wire, from, "margin_bytes"),
        .headroom_bytes = json_integer_value(headroom),
        .headroom_known = json_is_integer(headroom),
        .shortfall_bytes = wire_number(wire, from, "shortfall_bytes"),
        .capacity_bytes = wire_number(wire, from, "capacity_bytes"),
        .own_outstanding_bytes = wire_number(wire, from, "own_outstanding_bytes"),
    };
    line.chosen = is_chosen(fit, json_string_value(json_object_get(from, "uuid")));
    return line;
}

/* A number that has to fit a smaller type; 0 where it is unknown. */
static uint32_t small_number(struct wire *wire, const json_t *from, const char *key)
{
    uint64_t number = wire_number(wire, from, key);
    wire->bad = wire->bad || (number > UINT32_MAX && number != VRAM_UNKNOWN);
    return number == VRAM_UNKNOWN ? 0 : (uint32_t)number;
}

static const struct vram_fit *read_fit(struct wire *wire, const json_t *from)
{
    const json_t *gpus = wire_list(wire, from, "gpus");
    size_t count = json_array_size(gpus);
    struct vram_fit *fit = WIRE_ARRAY(wire, struct vram_fit, 1);
    struct vram_fit_gpu *lines = WIRE_ARRAY(wire, struct vram_fit_gpu, count);
    struct vram_fit read = {
        .answer = wire_word(wire, from, "answer", vram_answer_name, VRAM_CANNOT_TELL),
        .gpu_count = small_number(wire, from, "gpu_count"),
        .size_bytes = wire_number(wire, from, "size_bytes"),
        .margin_bytes = wire_number(wire, from, "margin_bytes"),
        .waiters = wire_number(wire, from, "waiters"),
        .promises_counted = wire_truth(wire, from, "promises_counted"),
        .count = count,
        .gpus = lines,
    };
    for (size_t i = 0; i < count; i++) {
        struct vram_fit_gpu line = read_line(wire, from, json_array_get(gpus, i));
        if (lines) {
            lines[i] = line;
        }
    }
    if (fit) {
        *fit = read;
    }
    return fit;
}

/* ---- Whole documents ------------------------------------------------------------------------- */

static void read_list(struct wire *wire, const json_t *document)
{
    struct vram_lease_list *list = WIRE_ARRAY(wire, struct vram_lease_list, 1);
    const json_t *leases = wire_list(wire, document, "leases");
    const json_t *waiters = wire_list(wire, document, "waiters");
    const json_t *ceilings = wire_list(wire, document, "ceilings");
    size_t lease_count = json_array_size(leases), waiter_count = json_array_size(waiters);
    struct vram_lease *to_leases = WIRE_ARRAY(wire, struct vram_lease, lease_count);
    struct vram_waiter *to_waiters = WIRE_ARRAY(wire, struct vram_waiter, waiter_count);
    struct vram_lease_list read = {
        .epoch = wire_number(wire, document, "epoch"),
        .daemon = read_daemon(wire, wire_object(wire, document, "daemon")),
        .lease_count = lease_count,
        .waiter_count = waiter_count,
        .leases = to_leases,
        .waiters = to_waiters,
        .ceiling_count = json_array_size(ceilings),
        .ceilings = read_ceilings(wire, ceilings, json_array_size(ceilings)),
    };
    for (size_t i = 0; i < lease_count; i++) {
        struct vram_lease lease = read_lease(wire, json_array_get(leases, i));
        if (to_leases) {
            to_leases[i] = lease;
        }
    }
    for (size_t i = 0; i < waiter_count; i++) {
        struct vram_waiter waiter = read_waiter(wire, json_array_get(waiters, i));
        if (to_waiters) {
            to_waiters[i] = waiter;
        }
    }
    wire->bad = wire->bad || !leases || !waiters;
    if (list) {
        *list = read;
    }
}

int lease_record_list(const json_t *document, struct vram_lease_list **ret_list)
{
    void *room;
    int r = wire_read(document, read_list, &room);
    if (r == 0) {
        *ret_list = room;
    }
    return r;
}

static void read_verdict(struct wire *wire, const json_t *document)
{
    struct vram_verdict *to = WIRE_ARRAY(wire, struct vram_verdict, 1);
    const json_t *lease = wire_object(wire, document, "lease");
    const json_t *fit = wire_object(wire, document, "answer");
    struct vram_lease *to_lease = lease ? WIRE_ARRAY(wire, struct vram_lease, 1) : NULL;
    struct vram_verdict verdict = {
        .answer = wire_word(wire, document, "verdict", lease_verdict_name, VRAM_TIMED_OUT + 1),
        .message = wire_text(wire, document, "message"),
        .lease = to_lease,
        .fit = fit ? read_fit(wire, fit) : NULL,
        .made_room = wire_text(wire, document, "made_room"),
    };
    if (lease) {
        struct vram_lease read = read_lease(wire, lease);
        if (to_lease) {
            *to_lease = read;
        }
    }
    /* Nobody may take a grant for one that names no lease, nor a word that is none for an answer. */
    wire->bad = wire->bad || verdict.answer > VRAM_TIMED_OUT ||
                !json_is_string(json_object_get(document, "message")) ||
                (verdict.answer == VRAM_FITS && !lease);
    if (to) {
        *to = verdict;
    }
}

int lease_record_verdict(const json_t *document, struct vram_verdict **ret_verdict)
{
    void *room;
    int r = wire_read(document, read_verdict, &room);
    if (r == 0) {
        *ret_verdict = room;
    }
    return r;
}

static void read_wanted(struct wire *wire, const json_t *document)
{
    struct vram_wanted *to = WIRE_ARRAY(wire, struct vram_wanted, 1);
    const json_t *from = wire_object(wire, document, "wanted");
    struct vram_wanted wanted = {
        .size = sizeof(wanted),
        .bytes = wire_number(wire, from, "bytes"),
        .for_whom = wire_text(wire, from, "for"),
    };
    wanted.gpus = wire_texts(wire, from, "gpus", &wanted.gpu_count);
    /* Nobody is asked for nothing. */
    wire->bad =
        wire->bad || wanted.bytes == VRAM_UNKNOWN || !json_is_string(json_object_get(from, "for"));
    if (to) {
        *to = wanted;
    }
}

int lease_record_wanted(const json_t *document, struct vram_wanted **ret_wanted)
{
    void *room;
    int r = wire_read(document, read_wanted, &room);
    if (r == 0) {
        *ret_wanted = room;
    }
    return r;
}
