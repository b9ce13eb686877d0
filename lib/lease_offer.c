/* SPDX-License-Identifier: MIT */
/* A lease on offer: a request that waits at the daemon until somebody wants the memory, again and again. */
#include "lib/daemon_error.h"
#include "lib/daemon_start.h"
#include "lib/lease_inner.h"
#include "lib/lease_record.h"

#include "common/clock.h"
#include "common/json.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct offering {
    struct vram *vram;
    struct vram_offer offer;
    char target[TARGET_MAX];
    const char *answer; /* what came of the last one; NULL: there was none */
    struct daemon_again again;
};

static char *write_body(const struct offering *offering)
{
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    json_object(&json, NULL);
    json_text(&json, "answer", offering->answer);
    if (offering->offer.cost) {
        json_number(&json, "cost", offering->offer.cost);
    }
    json_end_object(&json);
    return buf_steal(&buf, NULL);
}

/* One request, until it is answered. */
static int wait_once(struct offering *offering, json_t **ret_document, struct err *err)
{
    uint64_t begun_ns = clock_now_ns();
    char *body = write_body(offering);
    if (!body) {
        return err_no_memory(err);
    }
    struct daemon_call call = {
        .method = "POST",
        .target = offering->target,
        .body = body,
        .wait_ms = VRAM_UNKNOWN,
    };
    int r = daemon_call_once(offering->vram, &call, ret_document, err);
    free(body);
    if (r == 0) {
        daemon_again_heard(&offering->again);
    } else {
        daemon_again_lasted(&offering->again, begun_ns);
    }
    return r;
}

/* 0: it is wanted, and the callback has been called; 1: the lease has ended. */
static int serve(struct offering *offering, const json_t *document, struct err *err)
{
    struct vram_wanted *wanted = NULL;
    if (json_object_get(document, "ended")) {
        return 1;
    }
    int r = lease_record_wanted(document, &wanted);
    if (r < 0) {
        return daemon_error_call(r, "the daemon's socket", err);
    }
    r = offering->offer.give_back(offering->offer.data, wanted);
    offering->answer = r == 0 ? "done" : r == -EBUSY ? "busy" : "failed";
    free(wanted);
    return 0;
}

/* Until the lease has ended: 0. */
static int attend(struct offering *offering, struct err *err)
{
    for (;;) {
        json_t *document = NULL;
        int r = wait_once(offering, &document, err);
        if (r == 0) {
            r = serve(offering, document, err);
            json_decref(document);
            if (r != 0) {
                return r < 0 ? r : 0;
            }
        } else if (err->result == -ENOENT && offering->again.connected) {
            return 0; /* it ended while nobody listened */
        } else if (!daemon_again(offering->vram, &offering->again, err)) {
            return r;
        }
    }
}

int vram_lease_offer(struct vram *vram, const char *id, const struct vram_offer *offer)
{
    struct offering offering = {.vram = vram};
    struct err err = {0};
    char whole[ID_LENGTH + 1];
    if (offer->size < sizeof(offer->size)) {
        return handle_fail_with(vram, -EINVAL, "bad_request", "the offer has no size of its own");
    }
    memcpy(&offering.offer, offer,
           offer->size < sizeof(offering.offer) ? offer->size : sizeof(offering.offer));
    if (!offering.offer.give_back) {
        return handle_fail_with(vram, -EINVAL, "bad_request",
                                "a lease is offered by nobody who could give it back");
    }
    int r = lease_read_id(id, ID_BEGINNING, whole, &err);
    if (r == 0) {
        (void)snprintf(offering.target, sizeof(offering.target), LEASES "/%s/offer", whole);
        r = attend(&offering, &err);
    }
    return r < 0 ? handle_fail(vram, &err) : 0;
}
