/* SPDX-License-Identifier: MIT */
/* Taking a sample in: figures, what members use, who grows without a lease, who holds on after an owner's end. */
#include "daemon/ledger_inner.h"

#include "common/text.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- Figures --------------------------------------------------------------------------------- */

static void take_figures(struct gpu *gpu, const struct ledger_gpu *from)
{
    gpu->usable = from->usable;
    gpu->current = from->current;
    gpu->uses_known = from->uses_known;
    gpu->drained = from->drained;
    gpu->total_bytes = ledger_believed(from->total_bytes);
    gpu->reserved_bytes = ledger_believed(from->reserved_bytes);
    gpu->free_bytes = ledger_believed(from->free_bytes);
    gpu->margin_bytes = from->margin_bytes;
}

/* The sample's GPUs in the ledger's table, those beyond its room nowhere; and by whom each memory is known now.
 * GPUs that the sample lacks are nobody's candidates. */
static void place_gpus(struct ledger *ledger, const struct ledger_sample *sample, size_t *places,
                       size_t *memories)
{
    for (size_t i = 0; i < sample->gpu_count; i++) {
        const char *uuid = sample->gpus[i].uuid;
        places[i] = uuid && uuid[0] ? ledger_gpu_add(ledger, uuid) : NO_GPU;
    }
    for (size_t i = 0; i < ledger->gpu_count; i++) {
        ledger->gpus[i].usable = ledger->gpus[i].current = ledger->gpus[i].uses_known = false;
        memories[i] = ledger->gpus[i].memory;
    }
    for (size_t i = 0; i < sample->gpu_count; i++) {
        if (places[i] == NO_GPU) {
            continue;
        }
        take_figures(&ledger->gpus[places[i]], &sample->gpus[i]);
        memories[places[i]] = places[i];
        for (size_t j = i; j-- > 0;) {
            if (places[j] != NO_GPU && sample->gpus[j].pool == sample->gpus[i].pool) {
                memories[places[i]] = memories[places[j]];
            }
        }
    }
}

static size_t count_shares(const struct ledger *ledger, uint64_t owner)
{
    size_t count = 0;
    for (size_t i = 0; i < ledger->lease_count; i++) {
        count += ledger->leases[i]->owner == owner ? ledger->leases[i]->gpu_count : 0;
    }
    return count;
}

/* An owner's accounts for memories that are known by others now: made of its leases, each base where its memory went.
 * `accounts` has room for one per share. */
static void follow(const struct ledger *ledger, struct owner *owner, const size_t *memories,
                   struct account *accounts)
{
    size_t count = 0;
    for (size_t i = 0; i < ledger->lease_count; i++) {
        const struct lease *lease = ledger->leases[i];
        for (size_t j = 0; lease->owner == owner->key && j < lease->gpu_count; j++) {
            const struct account *old = ledger_account(owner, ledger->gpus[lease->gpus[j]].memory);
            size_t memory = memories[lease->gpus[j]], k = 0;
            while (k < count && accounts[k].memory != memory) {
                k++;
            }
            if (k == count) {
                accounts[count] = old ? *old : (struct account){0};
                accounts[count].memory = memory;
                accounts[count].leases = 0;
                accounts[count].sizes_bytes = accounts[count].unfilled_bytes = 0;
                count++;
            }
            accounts[k].leases++;
            accounts[k].sizes_bytes += lease->size_bytes;
            accounts[k].unfilled_bytes += lease->filled ? 0 : lease->size_bytes;
        }
    }
    free(owner->accounts);
    owner->accounts = accounts;
    owner->account_count = count;
}

/* Room for the accounts of all owners before any of them is touched: half of them moved would lose their bases. */
static int follow_all(struct ledger *ledger, const size_t *memories)
{
    size_t made = 0;
    struct account **rooms = calloc(ledger->owner_count + 1, sizeof(*rooms));
    while (rooms && made < ledger->owner_count) {
        size_t shares = count_shares(ledger, ledger->owners[made].key);
        rooms[made] = calloc(shares + 1, sizeof(**rooms));
        if (!rooms[made]) {
            break;
        }
        made++;
    }
    bool complete = rooms && made == ledger->owner_count;
    for (size_t i = 0; i < made; i++) {
        if (complete) {
            follow(ledger, &ledger->owners[i], memories, rooms[i]);
        } else {
            free(rooms[i]);
        }
    }
    free(rooms);
    return complete ? 0 : -ENOMEM;
}

/* MIG instances come and go, and with them who stands for a memory. */
static int follow_memories(struct ledger *ledger, const size_t *memories)
{
    bool moved = false;
    for (size_t i = 0; i < ledger->gpu_count; i++) {
        moved |= ledger->gpus[i].memory != memories[i];
    }
    int r = moved ? follow_all(ledger, memories) : 0;
    for (size_t i = 0; r == 0 && i < ledger->gpu_count; i++) {
        ledger->gpus[i].memory = memories[i];
    }
    if (moved && r == 0) {
        ledger_sum_up_all(ledger);
    }
    return r;
}

/* ---- What members use ------------------------------------------------------------------------ */

struct owner *ledger_counts_for(const struct ledger *ledger, const struct ledger_use *use,
                                size_t memory)
{
    struct owner *nearest = ledger_nearest(ledger, use->owner, memory);
    return nearest ? nearest : ledger_nearest(ledger, use->outer, memory);
}

static void clear_uses(struct ledger *ledger)
{
    for (size_t i = 0; i < ledger->owner_count; i++) {
        for (size_t j = 0; j < ledger->owners[i].account_count; j++) {
            struct account *account = &ledger->owners[i].accounts[j];
            account->used_bytes = account->spilt_bytes = 0;
            account->all_known = true;
            account->held = false;
        }
    }
}

static void book_uses(struct ledger *ledger, const struct ledger_sample *sample)
{
    const size_t *places = ledger->places;
    for (size_t i = 0; i < sample->use_count; i++) {
        const struct ledger_use *use = &sample->uses[i];
        if (places[use->gpu] == NO_GPU) {
            continue;
        }
        struct gpu *memory = &ledger->gpus[ledger->gpus[places[use->gpu]].memory];
        uint64_t used = ledger_believed(use->used_bytes);
        const struct owner *owner = ledger_counts_for(ledger, use, memory->memory);
        struct account *account = ledger_account(owner, memory->memory);
        if (account) {
            account->used_bytes += used == VRAM_UNKNOWN ? 0 : used;
            account->all_known &= used != VRAM_UNKNOWN;
            account->held |= owner->key != use->owner || !use->is_owner;
        }
    }
}

/* What nested members use beyond their own promises goes on to the owners around them, and from there on. Deeper
 * nests than these rounds reach leave an outer promise larger than it need be. */
static void spill(struct ledger *ledger)
{
    for (int round = 0; round < 4; round++) {
        bool any = false;
        for (size_t i = 0; i < ledger->owner_count; i++) {
            for (size_t j = 0; j < ledger->owners[i].account_count; j++) {
                ledger->owners[i].accounts[j].inflow_bytes = 0;
            }
        }
        for (size_t i = 0; i < ledger->owner_count; i++) {
            for (size_t j = 0; j < ledger->owners[i].account_count; j++) {
                const struct account *account = &ledger->owners[i].accounts[j];
                struct account *outer = ledger_account(
                    ledger_nearest(ledger, ledger->owners[i].holder, account->memory),
                    account->memory);
                if (outer) {
                    outer->inflow_bytes += account_excess(account);
                    any = true;
                }
            }
        }
        for (size_t i = 0; any && i < ledger->owner_count; i++) {
            for (size_t j = 0; j < ledger->owners[i].account_count; j++) {
                struct account *account = &ledger->owners[i].accounts[j];
                account->spilt_bytes = account->inflow_bytes;
            }
        }
        if (!any) {
            return;
        }
    }
}

/* Whether all lists of this memory could be read. */
static bool uses_are_known(const struct ledger *ledger, size_t memory)
{
    bool any = false;
    for (size_t i = 0; i < ledger->gpu_count; i++) {
        const struct gpu *gpu = &ledger->gpus[i];
        if (gpu->memory == memory && gpu->usable) {
            if (!gpu->current || !gpu->uses_known) {
                return false;
            }
            any = true;
        }
    }
    return any;
}

/* Members that use less than they did at the first grant have given that back: it is nobody's promise. They may have
 * taken it again since they were looked at, so that others get it by the next sample only. */
static void lower_bases(struct ledger *ledger, uint64_t now_ns)
{
    for (size_t i = 0; i < ledger->owner_count; i++) {
        struct owner *owner = &ledger->owners[i];
        for (size_t j = 0; j < owner->account_count; j++) {
            struct account *account = &owner->accounts[j];
            if (account->all_known && account->base_bytes > 0 &&
                (uint64_t)account->base_bytes > account->used_bytes + account->spilt_bytes &&
                uses_are_known(ledger, account->memory)) {
                account->base_bytes = (int64_t)(account->used_bytes + account->spilt_bytes);
                ledger->gpus[account->memory].lowered_ns = now_ns;
                ledger->ops->base(ledger->data, owner->key, ledger->gpus[account->memory].uuid,
                                  account->base_bytes);
            }
        }
    }
}

void ledger_book_uses(struct ledger *ledger, const struct ledger_sample *sample)
{
    clear_uses(ledger);
    book_uses(ledger, sample);
    spill(ledger);
    ledger_book_ceiling_uses(ledger, sample);
    ledger_sum_up_all(ledger);
}

/* What counted for an outer lease was promised there: it is no base of one's own. */
void ledger_book_first(struct ledger *ledger, const struct ledger_sample *sample,
                       const struct lease *lease, const bool *first)
{
    const struct owner *owner = ledger_owner(ledger, lease->owner);
    clear_uses(ledger);
    book_uses(ledger, sample);
    spill(ledger);
    for (size_t i = 0; i < lease->gpu_count; i++) {
        size_t memory = ledger->gpus[lease->gpus[i]].memory;
        struct account *account = ledger_account(owner, memory);
        if (first[i] && !ledger_nearest(ledger, owner->holder, memory)) {
            account->base_bytes = (int64_t)(account->used_bytes + account->spilt_bytes);
        }
    }
    ledger_book_ceiling_uses(ledger, sample);
    ledger_sum_up_all(ledger);
}

/* ---- Growth ---------------------------------------------------------------------------------- */

static const struct past *find_past(const struct ledger *ledger, const struct past *like,
                                    size_t *hint)
{
    for (size_t n = 0; n < ledger->past_count; n++) {
        size_t i = (*hint + n) % ledger->past_count;
        const struct past *past = &ledger->pasts[i];
        if (past->pid == like->pid && past->start_time == like->start_time &&
            past->memory == like->memory) {
            *hint = i + 1;
            return past;
        }
    }
    return NULL;
}

/* Goes on with the past of a process that now uses so much. `recent`: it was looked at within the
 * time that growth is asked about. */
static struct past go_on(const struct past *before, struct past now, const struct ledger_use *use,
                         uint64_t now_ns, bool recent)
{
    bool young = use->age_ns < LEDGER_DOUBT_NS;
    now.floor_ns = now_ns;
    now.known_ns = now_ns;
    now.floor_bytes = now.last_bytes = use->used_bytes;
    now.last_ns = now_ns;
    if (before && recent) {
        now.known_ns = before->known_ns;
        now.grew_ns = before->grew_ns;
        if (use->used_bytes > before->floor_bytes && now_ns - before->floor_ns < LEDGER_DOUBT_NS) {
            now.floor_bytes = before->floor_bytes;
            now.floor_ns = before->floor_ns;
        } else if (use->used_bytes > before->last_bytes) {
            now.floor_bytes = before->last_bytes;
            now.floor_ns = before->last_ns;
        }
    } else if (young || (!before && recent)) {
        now.floor_bytes = 0; /* all of it is new */
    }
    if (use->used_bytes - now.floor_bytes > LEDGER_DOUBT_BYTES) {
        now.grew_ns = now_ns;
        now.floor_bytes = use->used_bytes;
        now.floor_ns = now_ns;
    }
    return now;
}

static void judge(struct gpu *memory, const struct past *past, const struct ledger_use *use,
                  uint64_t now_ns)
{
    bool grows = past->grew_ns && now_ns - past->grew_ns < LEDGER_DOUBT_NS;
    if (grows) {
        memory->grower = use->pid;
        (void)text_copy(memory->grower_name, sizeof(memory->grower_name),
                        use->name ? use->name : "");
    } else if (use->used_bytes > LEDGER_DOUBT_BYTES && now_ns - past->known_ns < LEDGER_PROOF_NS) {
        memory->unproven = true;
    }
}

/* Watches what processes without a lease do. Those that ask for one stand still meanwhile. */
static int watch_growth(struct ledger *ledger, const struct ledger_sample *sample,
                        const size_t *places)
{
    uint64_t now_ns = sample->ended_ns;
    bool recent = ledger->listed_ns && now_ns - ledger->listed_ns < LEDGER_DOUBT_NS;
    size_t count = 0, hint = 0;
    struct past *pasts = calloc(sample->use_count ? sample->use_count : 1, sizeof(*pasts));
    if (!pasts) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < ledger->gpu_count; i++) {
        ledger->gpus[i].unproven = false;
        ledger->gpus[i].grower = 0;
    }
    for (size_t i = 0; i < sample->use_count; i++) {
        const struct ledger_use *use = &sample->uses[i];
        if (places[use->gpu] == NO_GPU || use->owner ||
            ledger_believed(use->used_bytes) == VRAM_UNKNOWN) {
            continue;
        }
        struct gpu *memory = &ledger->gpus[ledger->gpus[places[use->gpu]].memory];
        struct past past = {
            .memory = memory->memory, .pid = use->pid, .start_time = use->start_time};
        past = go_on(find_past(ledger, &past, &hint), past, use, now_ns, recent);
        if (!ledger_is_kept(ledger, use, memory->memory)) {
            judge(memory, &past, use, now_ns);
        }
        pasts[count++] = past;
    }
    free(ledger->pasts);
    ledger->pasts = pasts;
    ledger->past_count = count;
    ledger->listed_ns = now_ns;
    for (size_t i = 0; i < ledger->gpu_count; i++) {
        struct gpu *gpu = &ledger->gpus[i];
        gpu->doubt_since_ns = !gpu->grower ? 0 : gpu->doubt_since_ns ? gpu->doubt_since_ns : now_ns;
    }
    return 0;
}

/* ---- Heirs ----------------------------------------------------------------------------------- */

/* Whether after its owner's end nobody holds on to this share of a lease. */
static bool is_abandoned(const struct ledger *ledger, const struct owner *owner, size_t gpu,
                         const struct ledger_sample *sample)
{
    size_t memory = ledger->gpus[gpu].memory;
    const struct account *account = ledger_account(owner, memory);
    if (!owner->ended || sample->begun_ns < owner->ended_ns) {
        return false;
    }
    if (uses_are_known(ledger, memory)) {
        return !account || !account->held;
    }
    return sample->begun_ns - owner->ended_ns > LEDGER_ORPHAN_NS;
}

static void end_abandoned(struct ledger *ledger, const struct ledger_sample *sample)
{
    for (size_t i = ledger->lease_count; i-- > 0;) {
        struct lease *lease = ledger->leases[i];
        size_t abandoned = 0;
        for (size_t j = 0; j < lease->gpu_count; j++) {
            abandoned +=
                is_abandoned(ledger, ledger_owner(ledger, lease->owner), lease->gpus[j], sample);
        }
        if (abandoned == lease->gpu_count) {
            ledger_remove_lease(ledger, i, LEDGER_OWNER_GONE);
            continue;
        }
        for (size_t j = lease->gpu_count; abandoned && j-- > 0;) {
            if (is_abandoned(ledger, ledger_owner(ledger, lease->owner), lease->gpus[j], sample)) {
                ledger_drop_share(ledger, lease, j);
            }
        }
        if (abandoned) {
            struct ledger_lease view = ledger_view(ledger, lease);
            (void)ledger->ops->record(ledger->data, &view, true);
        }
    }
}

/* ---- States ---------------------------------------------------------------------------------- */

/* Who has taken promised room most likely: who grew last, else the largest without a lease. */
static void find_culprit(struct ledger *ledger, const struct ledger_sample *sample, size_t memory)
{
    struct gpu *gpu = &ledger->gpus[memory];
    uint64_t most = 0;
    gpu->culprit = gpu->grower;
    (void)text_copy(gpu->culprit_name, sizeof(gpu->culprit_name), gpu->grower_name);
    for (size_t i = 0; !gpu->grower && i < sample->use_count; i++) {
        const struct ledger_use *use = &sample->uses[i];
        size_t at = ledger_gpu(ledger, sample->gpus[use->gpu].uuid);
        uint64_t used = ledger_believed(use->used_bytes);
        if (at != NO_GPU && ledger->gpus[at].memory == memory && used != VRAM_UNKNOWN &&
            used > most && !ledger_counts_for(ledger, use, memory) &&
            !ledger_is_kept(ledger, use, memory)) {
            most = used;
            gpu->culprit = use->pid;
            (void)text_copy(gpu->culprit_name, sizeof(gpu->culprit_name),
                            use->name ? use->name : "");
        }
    }
}

static bool is_squeezed(const struct gpu *gpu, const struct gpu *memory)
{
    return gpu->current && gpu->free_bytes != VRAM_UNKNOWN &&
           memory->outstanding_bytes - memory->kept_bytes > gpu->free_bytes;
}

static uint32_t state_of(const struct ledger *ledger, const struct lease *lease, size_t *ret_gpu)
{
    const struct owner *owner = ledger_owner(ledger, lease->owner);
    bool over = false;
    for (size_t i = 0; i < lease->gpu_count; i++) {
        const struct gpu *gpu = &ledger->gpus[lease->gpus[i]];
        const struct account *account = ledger_account(owner, gpu->memory);
        int64_t limit = account ? account->base_bytes + (int64_t)account->sizes_bytes : 0;
        *ret_gpu = lease->gpus[i];
        if (account && account_outstanding(account) &&
            is_squeezed(gpu, &ledger->gpus[gpu->memory])) {
            return LEDGER_SQUEEZED;
        }
        over |= account && (int64_t)account->used_bytes > limit;
    }
    return over            ? LEDGER_OVER
           : owner->ended  ? LEDGER_INHERITED
           : lease->filled ? LEDGER_FILLED
                           : LEDGER_OK;
}

static void judge_leases(struct ledger *ledger, const struct ledger_sample *sample)
{
    for (size_t i = 0; i < ledger->lease_count; i++) {
        struct lease *lease = ledger->leases[i];
        size_t where = 0;
        uint32_t state = state_of(ledger, lease, &where);
        if (state == lease->state) {
            continue;
        }
        lease->state = state;
        struct gpu *memory = &ledger->gpus[ledger->gpus[where].memory];
        if (state == LEDGER_SQUEEZED) {
            find_culprit(ledger, sample, memory->memory);
        }
        struct ledger_lease view = ledger_view(ledger, lease);
        ledger->ops->state(ledger->data, &view, state == LEDGER_SQUEEZED ? memory->culprit : 0,
                           state == LEDGER_SQUEEZED ? memory->culprit_name : "");
    }
}

int ledger_book(struct ledger *ledger, const struct ledger_sample *sample)
{
    size_t memories[LEDGER_GPUS];
    size_t *places = reallocarray(ledger->places, sample->gpu_count + 1, sizeof(*places));
    if (!places) {
        return -ENOMEM;
    }
    ledger->places = places;
    place_gpus(ledger, sample, places, memories);
    int r = follow_memories(ledger, memories);
    r = r < 0 ? r : ledger_book_ceilings(ledger, sample);
    r = r < 0 ? r : watch_growth(ledger, sample, places);
    if (r == 0) {
        ledger_book_uses(ledger, sample);
        lower_bases(ledger, sample->ended_ns);
        ledger_sum_up_all(ledger);
        end_abandoned(ledger, sample);
        for (size_t i = 0; i < ledger->owner_count; i++) {
            ledger->owners[i].looked_at |= ledger->owners[i].ended_ns <= sample->begun_ns;
        }
        judge_leases(ledger, sample);
        ledger_watch_idle(ledger, sample->ended_ns);
    }
    return r;
}
