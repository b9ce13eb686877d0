/* SPDX-License-Identifier: MIT */
#include "daemon/parked.h"

#include "common/clock.h"
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/queue.h>

#define TIMEOUT_MAX_MS ((uint64_t)1 << 40)

struct parked {
    TAILQ_ENTRY(parked) link;
    struct parking *parking;
    struct http_request *request;
    struct parked_wish wish;
    uint64_t asked_ns;
    struct event *late;
};

TAILQ_HEAD(parked_list, parked);

struct parking {
    struct event_base *base;
    struct parked_list list; /* oldest first */
    size_t watchers;
};

static void unpark(struct parked *parked)
{
    TAILQ_REMOVE(&parked->parking->list, parked, link);
    parked->parking->watchers -= parked->wish.for_epoch;
    if (parked->late) {
        event_free(parked->late);
    }
    free(parked);
}

static void answer(struct parked *parked, enum parked_end end, const struct sample *sample)
{
    struct parked_wish wish = parked->wish;
    struct http_request *request = parked->request;
    unpark(parked);
    http_on_gone(request, NULL, NULL);
    wish.answer(wish.data, request, end, sample);
}

static void on_gone(struct http_request *request, void *data)
{
    (void)request;
    unpark(data);
}

static void on_late(evutil_socket_t none, short what, void *data)
{
    (void)none;
    (void)what;
    answer(data, PARKED_LATE, NULL);
}

int parking_add(struct parking *parking, struct http_request *request,
                const struct parked_wish *wish)
{
    struct parked *parked = calloc(1, sizeof(*parked));
    if (!parked) {
        return -ENOMEM;
    }
    *parked = (struct parked){
        .parking = parking, .request = request, .wish = *wish, .asked_ns = clock_now_ns()};
    if (wish->timeout_ms != UINT64_MAX) {
        uint64_t ms = wish->timeout_ms < TIMEOUT_MAX_MS ? wish->timeout_ms : TIMEOUT_MAX_MS;
        struct timeval limit = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
        parked->late = event_new(parking->base, -1, 0, on_late, parked);
        if (!parked->late || event_add(parked->late, &limit) < 0) {
            if (parked->late) {
                event_free(parked->late);
            }
            free(parked);
            return -ENOMEM;
        }
    }
    TAILQ_INSERT_TAIL(&parking->list, parked, link);
    parking->watchers += wish->for_epoch;
    http_on_gone(request, on_gone, parked);
    return 0;
}

static bool serves(const struct sample *sample, const struct parked *parked)
{
    bool fresh = parked->asked_ns <= sample->begun_ns ||
                 parked->asked_ns - sample->begun_ns <= parked->wish.max_age_ns;
    return parked->wish.for_sample && fresh && (parked->wish.take & ~sample->take) == 0;
}

/* An answer ends no other request and is given to none twice, so that `next` stays; one that is parked anew by its
 * answer stands at the end and asks for more than this sample or epoch. */
void parking_sampled(struct parking *parking, const struct sample *sample)
{
    struct parked *parked = TAILQ_FIRST(&parking->list);
    while (parked) {
        struct parked *next = TAILQ_NEXT(parked, link);
        if (serves(sample, parked)) {
            answer(parked, PARKED_SAMPLE, sample);
        }
        parked = next;
    }
}

void parking_epoch(struct parking *parking, uint64_t epoch)
{
    struct parked *parked = TAILQ_FIRST(&parking->list);
    while (parked) {
        struct parked *next = TAILQ_NEXT(parked, link);
        if (parked->wish.for_epoch && parked->wish.after != epoch) {
            answer(parked, PARKED_EPOCH, NULL);
        }
        parked = next;
    }
}

size_t parking_watchers(const struct parking *parking)
{
    return parking->watchers;
}

struct parking *parking_new(struct event_base *base)
{
    struct parking *parking = calloc(1, sizeof(*parking));
    if (parking) {
        parking->base = base;
        TAILQ_INIT(&parking->list);
    }
    return parking;
}

struct parking *parking_free(struct parking *parking)
{
    struct parked *parked;
    while (parking && (parked = TAILQ_FIRST(&parking->list))) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see that the list has lost it */
        http_on_gone(parked->request, NULL, NULL);
        unpark(parked);
    }
    free(parking);
    return NULL;
}
