/* SPDX-License-Identifier: MIT */
#include "common/room.h"

uint64_t room_sum(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

uint64_t room_difference(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* a - b, as far as a signed number goes. */
static int64_t signed_difference(uint64_t a, uint64_t b)
{
    uint64_t distance = a > b ? a - b : b - a;
    int64_t limited = distance > INT64_MAX ? INT64_MAX : (int64_t)distance;
    return a >= b ? limited : -limited;
}

static void weigh(struct room *room, uint64_t size)
{
    bool margin_known = room->margin_bytes != ROOM_UNKNOWN;
    room->answer = ROOM_CANNOT_TELL;
    room->chosen = room->headroom_known = false;
    room->headroom_bytes = 0;
    room->shortfall_bytes = ROOM_UNKNOWN;
    room->capacity_bytes = room->total_bytes == ROOM_UNKNOWN || room->reserved_bytes == ROOM_UNKNOWN
                               ? room->total_bytes
                               : room_difference(room->total_bytes, room->reserved_bytes);
    if (room->current && room->free_bytes != ROOM_UNKNOWN && margin_known) {
        uint64_t spoken_for = room_sum(room->promised_bytes, room->margin_bytes);
        uint64_t need = room_sum(size, spoken_for);
        room->headroom_known = true;
        room->headroom_bytes = signed_difference(room->free_bytes, spoken_for);
        room->shortfall_bytes = room_difference(need, room->free_bytes);
        bool fits = need <= room->free_bytes && need != UINT64_MAX && !room->closed;
        room->answer = fits ? ROOM_FITS : ROOM_NOT_NOW;
    }
    if (margin_known && room->capacity_bytes != ROOM_UNKNOWN &&
        room_sum(size, room->margin_bytes) > room->capacity_bytes) {
        room->answer = ROOM_NEVER;
    }
}

/* Whether candidate `i` stands for its memory: it has the best answer of those that share it, which may
 * differ, as they are asked one after the other. Of equals the first stands. */
static bool stands_for_pool(const struct room *rooms, size_t count, size_t i)
{
    static const unsigned ranks[] = {
        [ROOM_FITS] = 0, [ROOM_CANNOT_TELL] = 1, [ROOM_NOT_NOW] = 2, [ROOM_NEVER] = 3};
    unsigned own = ranks[rooms[i].answer];
    for (size_t j = 0; j < count; j++) {
        const struct room *other = &rooms[j];
        bool better = ranks[other->answer] < own || (ranks[other->answer] == own && j < i);
        if (other->usable && better && other->pool == rooms[i].pool) {
            return false;
        }
    }
    return true;
}

static size_t count_pools(const struct room *rooms, size_t count, uint32_t answer)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        found += rooms[i].usable && rooms[i].answer == answer && stands_for_pool(rooms, count, i);
    }
    return found;
}

/* The fullest on which it still fits and whose memory is not chosen yet; NULL: none. */
static struct room *fullest(struct room *rooms, size_t count)
{
    struct room *best = NULL;
    for (size_t i = 0; i < count; i++) {
        bool open = rooms[i].usable && rooms[i].answer == ROOM_FITS;
        for (size_t j = 0; open && j < count; j++) {
            open = !rooms[j].chosen || rooms[j].pool != rooms[i].pool;
        }
        if (open && (!best || rooms[i].headroom_bytes < best->headroom_bytes)) {
            best = &rooms[i];
        }
    }
    return best;
}

uint32_t room_decide(struct room *rooms, size_t count, uint64_t size_bytes, uint32_t gpu_count)
{
    for (size_t i = 0; i < count; i++) {
        weigh(&rooms[i], size_bytes);
    }
    size_t fits = count_pools(rooms, count, ROOM_FITS);
    size_t later = count_pools(rooms, count, ROOM_NOT_NOW);
    size_t unknown = count_pools(rooms, count, ROOM_CANNOT_TELL);
    if (fits >= gpu_count) {
        for (uint32_t n = 0; n < gpu_count; n++) {
            fullest(rooms, count)->chosen = true;
        }
        return ROOM_FITS;
    }
    if (fits + later + unknown < gpu_count) {
        return ROOM_NEVER;
    }
    /* Unknown ones decide only where they could make up what is missing. */
    return fits + unknown >= gpu_count ? ROOM_CANNOT_TELL : ROOM_NOT_NOW;
}

bool room_any_usable(const struct room *rooms, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (rooms[i].usable) {
            return true;
        }
    }
    return false;
}
