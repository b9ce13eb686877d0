/* SPDX-License-Identifier: MIT */
/*
 * Leases on offer: their clients wait, with a request of their own, to be asked to give memory back (docs/api.md). What a
 * lease could give back is what would be free, or promised to nobody, if it were not: of a GPU the larger of what its owner
 * was promised and what its members use, less what the owner would go on having without it.
 *
 * While it is being asked its members are known by pid, so that what they keep counts as kept also where the lease has
 * ended meanwhile.
 */
#include "daemon/promises_inner.h"

#include "common/clock.h"
#include "common/text.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One GPU of the lease. */
struct share {
    char uuid[LEDGER_UUID_MAX];
    uint64_t promised_bytes; /* to its owner; 0 where there is none any more */
    uint64_t kept_bytes;     /* what of it, or of what it uses, it would have without the lease */
    uint64_t most_bytes; /* beyond ceilings that it stands for; the rest would be kept for these */
    uint64_t used_bytes;
    size_t gpu; /* position in the sample; SIZE_MAX: it has none of it */
};

struct process {
    uint32_t pid;
    uint64_t start_time;
};

struct offer {
    char id[LEDGER_ID_MAX];
    char name[DEAL_LABEL_MAX];
    uint64_t owner;
    uid_t uid;
    uint32_t cost;
    struct http_request
        *http;  /* to be answered when it is wanted; NULL: its client does not listen */
    bool asked; /* and what came of it is not told */
    bool ended; /* the lease has */
    size_t share_count;
    struct share *shares;
    size_t process_count;
    struct process *processes; /* its members with memory */
    size_t gpu_count;          /* of the sample */
    uint64_t *held;            /* for each of them */
};

struct offers {
    size_t count;
    struct offer **list;
    struct reclaim_offer *told; /* to those who choose, in the same order */
};

/* ---- Life ------------------------------------------------------------------------------------ */

struct offers *offers_new(void)
{
    return calloc(1, sizeof(struct offers));
}

static void free_offer(struct offer *offer)
{
    if (offer->http) {
        http_fail(offer->http, 503, "ending", EAGAIN, NULL, "nothing is promised any more");
    }
    free(offer->shares);
    free(offer->processes);
    free(offer->held);
    free(offer);
}

struct offers *offers_free(struct offers *offers)
{
    if (offers) {
        for (size_t i = 0; i < offers->count; i++) {
            free_offer(offers->list[i]);
        }
        free(offers->list);
        free(offers->told);
        free(offers);
    }
    return NULL;
}

bool offers_any(const struct promises *promises)
{
    return promises->offers->count;
}

/* By the beginning of its id, as the desk finds leases. */
static struct offer *find(const struct offers *offers, const char *id)
{
    for (size_t i = 0; i < offers->count; i++) {
        if (strncmp(offers->list[i]->id, id, strlen(id)) == 0) {
            return offers->list[i];
        }
    }
    return NULL;
}

static struct offer *make(struct offers *offers, const struct deal *deal)
{
    struct offer **grown = reallocarray(offers->list, offers->count + 1, sizeof(struct offer *));
    offers->list = grown ? grown : offers->list;
    struct reclaim_offer *told =
        reallocarray(offers->told, offers->count + 1, sizeof(*offers->told));
    offers->told = told ? told : offers->told;
    struct offer *offer = grown && told ? calloc(1, sizeof(*offer)) : NULL;
    if (offer) {
        memcpy(offer->id, deal->id, sizeof(offer->id));
        (void)text_copy(offer->name, sizeof(offer->name), deal->label[0] ? deal->label : deal->id);
        offer->owner = deal->owner;
        offer->uid = deal->uid;
        offers->list[offers->count++] = offer;
    }
    return offer;
}

/* Those whose leases have ended, and of which nothing is awaited. */
static void sweep(struct offers *offers)
{
    size_t kept = 0;
    for (size_t i = 0; i < offers->count; i++) {
        struct offer *offer = offers->list[i];
        if (offer->ended && !offer->asked) {
            free_offer(offer);
        } else {
            offers->list[kept++] = offer;
        }
    }
    offers->count = kept;
}

/* ---- What it could give back ----------------------------------------------------------------- */

/* What its programs hold beyond the ceilings that it stands for. */
static uint64_t beyond_ceilings(const struct promises *promises, const char *uuid,
                                uint64_t ceilings)
{
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; ceilings && i < ledger_ceiling_count(promises->ledger); i++) {
        struct ledger_ceiling_share share = ledger_ceiling_at(promises->ledger, i);
        if (ceilings & UINT64_C(1) << (share.number - 1) && strcmp(share.uuid, uuid) == 0) {
            uint64_t beyond = ledger_beyond(promises->ledger, uuid, share.number);
            least = beyond < least ? beyond : least;
        }
    }
    return least;
}

/* What its owner was promised on its GPUs. */
static void read_claims(const struct promises *promises, struct offer *offer)
{
    for (size_t i = 0; i < offer->share_count; i++) {
        struct ledger_claim claim =
            ledger_claim_of(promises->ledger, offer->shares[i].uuid, offer->owner);
        offer->shares[i].promised_bytes = room_difference(claim.promised_bytes, claim.spilt_bytes);
    }
}

/* What the ledger has of it now. Of a lease that has ended what its owner would have without it stays as it was. */
static int look_up(const struct promises *promises, struct offer *offer)
{
    int found = offer->ended ? -1 : ledger_find_lease(promises->ledger, offer->id);
    if (found >= 0) {
        struct ledger_lease lease = ledger_lease_at(promises->ledger, (size_t)found);
        struct share *grown =
            reallocarray(offer->shares, lease.gpu_count + 1, sizeof(*offer->shares));
        if (!grown) {
            return -ENOMEM;
        }
        offer->shares = grown;
        offer->share_count = lease.gpu_count;
        uint64_t ceilings = ceilings_of_owner(promises, offer->owner);
        for (size_t i = 0; i < lease.gpu_count; i++) {
            const char *uuid = lease.gpus[i].uuid;
            uint64_t promised =
                ledger_claim_of(promises->ledger, uuid, offer->owner).promised_bytes;
            (void)text_copy(grown[i].uuid, sizeof(grown[i].uuid), uuid);
            grown[i].kept_bytes = room_difference(promised, lease.filled ? 0 : lease.size_bytes);
            grown[i].most_bytes = beyond_ceilings(promises, uuid, ceilings);
        }
    }
    read_claims(promises, offer);
    return 0;
}

static bool remembers(const struct offer *offer, const struct vram_process *process)
{
    for (size_t i = 0; i < offer->process_count; i++) {
        if (offer->processes[i].pid == process->pid &&
            offer->processes[i].start_time == process->start_time) {
            return true;
        }
    }
    return false;
}

static int remember(struct offer *offer, const struct vram_process *process)
{
    struct process *grown =
        reallocarray(offer->processes, offer->process_count + 1, sizeof(*offer->processes));
    if (!grown) {
        return -ENOMEM;
    }
    offer->processes = grown;
    grown[offer->process_count++] = (struct process){process->pid, process->start_time};
    return 0;
}

static int count_process(const struct offers *offers, size_t gpu,
                         const struct vram_process *process, uint64_t owner)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < offers->count; i++) {
        struct offer *offer = offers->list[i];
        bool is_known = remembers(offer, process);
        bool is_member = owner && owner == offer->owner;
        if (!is_member && !(offer->asked && is_known)) {
            continue;
        }
        r = is_known ? 0 : remember(offer, process);
        for (size_t j = 0; j < offer->share_count; j++) {
            if (offer->shares[j].gpu == gpu && process->used_bytes != VRAM_UNKNOWN) {
                offer->shares[j].used_bytes += process->used_bytes;
            }
        }
    }
    return r;
}

static uint64_t held_of(const struct share *share)
{
    uint64_t has =
        share->promised_bytes > share->used_bytes ? share->promised_bytes : share->used_bytes;
    uint64_t held = room_difference(has, share->kept_bytes);
    return held < share->most_bytes ? held : share->most_bytes;
}

static void sum_up(struct offer *offer)
{
    memset(offer->held, 0, (offer->gpu_count + 1) * sizeof(*offer->held));
    for (size_t i = 0; i < offer->share_count; i++) {
        const struct share *share = &offer->shares[i];
        if (share->gpu < offer->gpu_count) {
            offer->held[share->gpu] = held_of(share);
        }
    }
}

/* Where its GPUs are in the sample. */
static int place(struct offer *offer, const struct vram_snapshot *snapshot)
{
    size_t count = vram_snapshot_gpu_count(snapshot);
    uint64_t *held = reallocarray(offer->held, count + 1, sizeof(*held));
    if (!held) {
        return -ENOMEM;
    }
    offer->held = held;
    offer->gpu_count = count;
    for (size_t i = 0; i < offer->share_count; i++) {
        struct share *share = &offer->shares[i];
        share->used_bytes = 0;
        share->gpu = SIZE_MAX;
        for (size_t j = 0; j < count; j++) {
            const char *uuid = vram_snapshot_gpu(snapshot, j)->uuid;
            share->gpu = uuid && strcmp(uuid, share->uuid) == 0 ? j : share->gpu;
        }
    }
    return 0;
}

int offers_look(struct promises *promises, const struct vram_snapshot *snapshot,
                const struct reclaim_offer **ret_offers, size_t *ret_count)
{
    struct offers *offers = promises->offers;
    int r = 0;
    sweep(offers);
    *ret_offers = offers->told;
    *ret_count = offers->count;
    for (size_t i = 0; r == 0 && i < offers->count; i++) {
        struct offer *offer = offers->list[i];
        offer->process_count = offer->asked ? offer->process_count : 0;
        r = look_up(promises, offer);
        r = r < 0 ? r : place(offer, snapshot);
    }
    for (size_t i = 0; offers->count && i < vram_snapshot_gpu_count(snapshot); i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, i);
        for (size_t j = 0; r == 0 && j < gpu->process_count; j++) {
            const struct vram_process *process = &gpu->processes[j];
            r = count_process(offers, i, process, promises_counts_for(promises, process));
        }
    }
    for (size_t i = 0; r == 0 && i < offers->count; i++) {
        struct offer *offer = offers->list[i];
        sum_up(offer);
        offers->told[i] = (struct reclaim_offer){
            .id = offer->id,
            .name = offer->name,
            .cost = offer->cost,
            .ready = offer->http && !ledger_waits(promises->ledger, offer->owner),
            .held_bytes = offer->held,
        };
    }
    return r;
}

void offers_look_again(struct promises *promises)
{
    for (size_t i = 0; i < promises->offers->count; i++) {
        struct offer *offer = promises->offers->list[i];
        if (offer->asked && offer->held) {
            read_claims(promises, offer);
            sum_up(offer);
            reclaim_hold(promises->reclaim, offer->id, offer->held, clock_now_ns());
        }
    }
}

/* ---- Asking ---------------------------------------------------------------------------------- */

/* "render (ada)" */
static void write_for(const struct promises *promises, struct json *json, const char *id)
{
    const struct deal *deal = deals_find(promises->deals, id);
    char user[METRICS_USER_MAX] = "", text[DEAL_LABEL_MAX + METRICS_USER_MAX + 16];
    if (deal) {
        view_user(deal->user, user);
    }
    (void)snprintf(text, sizeof(text), "%s (%s)", deal && deal->label[0] ? deal->label : id, user);
    json_text(json, "for", text);
}

int offers_ask(struct promises *promises, const char *lease, const struct reclaim_wanted *wanted,
               const char *id)
{
    struct offer *offer = find(promises->offers, lease);
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    if (!offer || !offer->http) {
        return -ENOENT;
    }
    json_object(&json, NULL);
    json_number(&json, "schema", 1);
    json_object(&json, "wanted");
    json_number(&json, "bytes", wanted->bytes);
    json_array(&json, "gpus");
    for (size_t i = 0; i < wanted->gpu_count; i++) {
        json_text(&json, NULL, wanted->gpus[i]);
    }
    json_end_array(&json);
    write_for(promises, &json, id);
    json_end_object(&json);
    json_end_object(&json);
    int r = buf.failed ? -ENOMEM : 0;
    if (r == 0) {
        http_answer(offer->http, 200, buf.data);
        offer->http = NULL;
        offer->asked = true;
    }
    buf_done(&buf);
    return r;
}

void offers_told(const struct promises *promises, const char *lease)
{
    struct offer *offer = find(promises->offers, lease);
    if (offer) {
        offer->asked = false;
    }
}

static void answer_ended(struct http_request *request)
{
    http_answer(request, 200, "{\"schema\":1,\"ended\":\"lease\"}");
}

void offers_ended(const struct promises *promises, const char *lease, uint32_t why)
{
    struct offer *offer = find(promises->offers, lease);
    if (!offer) {
        return;
    }
    offer->ended = true;
    if (offer->http) {
        answer_ended(offer->http);
        offer->http = NULL;
    }
    if (why == LEDGER_OWNER_GONE) { /* nobody will say so */
        reclaim_answer(promises->reclaim, lease, RECLAIM_DONE, clock_now_ns());
    }
}

/* ---- POST /v1/leases/ID/offer ---------------------------------------------------------------- */

static void gone(struct http_request *request, void *data)
{
    const struct promises *promises = data;
    for (size_t i = 0; i < promises->offers->count; i++) {
        struct offer *offer = promises->offers->list[i];
        offer->http = offer->http == request ? NULL : offer->http;
    }
}

static bool read_answer(struct http_request *request, const json_t *body,
                        enum reclaim_answer *ret_answer)
{
    static const char *const answers[] = {
        [RECLAIM_DONE] = "done", [RECLAIM_BUSY] = "busy", [RECLAIM_FAILED] = "failed"};
    const json_t *value = json_object_get(body, "answer");
    const char *text = json_string_value(value);
    *ret_answer = RECLAIM_BROKEN;
    for (size_t i = 0; text && i < ARRAY_LENGTH(answers); i++) {
        if (strcmp(text, answers[i]) == 0) {
            *ret_answer = (enum reclaim_answer)i;
            return true;
        }
    }
    if (value && !json_is_null(value)) {
        request_fail(request, "answer", "is null, \"done\", \"busy\" or \"failed\"");
        return false;
    }
    return true;
}

/* What came of its last question. Busy is told at once, once to each request. */
static void hear(const struct promises *promises, struct offer *offer, enum reclaim_answer answer)
{
    if (offer->asked) {
        reclaim_answer(promises->reclaim, offer->id, answer, clock_now_ns());
        offer->asked = answer != RECLAIM_BUSY;
    }
}

static void park(struct promises *promises, struct http_request *request, const struct deal *deal,
                 enum reclaim_answer answer, uint32_t cost)
{
    struct offer *offer = find(promises->offers, deal->id);
    offer = offer ? offer : make(promises->offers, deal);
    if (!offer) {
        http_fail_memory(request);
        return;
    }
    if (offer->http) {
        http_fail(offer->http, 409, "conflict", EEXIST, NULL, "the lease was offered anew");
    }
    hear(promises, offer, answer);
    offer->cost = cost;
    offer->http = request;
    http_on_gone(request, gone, promises);
    promises_stir(promises, false);
}

static void take_offer(struct promises *promises, struct http_request *request, const json_t *body,
                       const char *id)
{
    const struct peer *peer = request_peer(request);
    enum reclaim_answer answer;
    uint64_t cost = RECLAIM_COST;
    if (!peer || !read_answer(request, body, &answer) ||
        !request_number(request, body, "cost", RECLAIM_COST_MOST, &cost)) {
        return;
    }
    struct offer *known = id[0] ? find(promises->offers, id) : NULL;
    if (known && known->ended && known->asked &&
        rights_rule(&promises->daemon->rights, peer, known->uid)) {
        hear(promises, known, answer);
        answer_ended(request);
        return;
    }
    const struct deal *deal = request_deal(promises, request, peer, id);
    if (deal && deal->kind != DEAL_HELD) {
        http_fail(request, 409, "conflict", EBUSY, NULL, "it still waits, and holds nothing");
    } else if (deal) {
        park(promises, request, deal, answer, cost ? (uint32_t)cost : RECLAIM_COST);
    }
}

void promises_offer(struct daemon *daemon, struct http_request *request)
{
    static const char beginning[] = "/v1/leases/", end[] = "/offer";
    const char *path = http_path(request) + sizeof(beginning) - 1, *slash = strchr(path, '/');
    char id[LEDGER_ID_MAX];
    if (!slash || strcmp(slash, end) != 0 || (size_t)(slash - path) >= sizeof(id)) {
        http_fail(request, 404, "not_found", ENOENT, "docs/api.md lists what there is",
                  "there is no %s", http_path(request));
        return;
    }
    json_t *body = request_body(request);
    if (body) {
        (void)text_copy_n(id, sizeof(id), path, (size_t)(slash - path));
        take_offer(daemon->promises_data, request, body, id);
        json_decref(body);
    }
}
