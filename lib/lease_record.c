/* SPDX-License-Identifier: MIT */
#include "lib/lease_record.h"

#include <string.h>

struct vram_daemon lease_record_daemon(struct wire *wire, const json_t *from)
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

struct vram_lease lease_record_lease(struct wire *wire, const json_t *from)
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

struct vram_waiter lease_record_waiter(struct wire *wire, const json_t *from)
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

const struct vram_fit *lease_record_fit(struct wire *wire, const json_t *from)
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
