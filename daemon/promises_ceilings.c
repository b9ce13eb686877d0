/* SPDX-License-Identifier: MIT */
/* Ceilings: which of the configuration's a process is under, and what of them a sample shows. A ceiling's number is its
 * place in the configuration, from 1 on. */
#include "daemon/promises_inner.h"

#include <errno.h>
#include <stdlib.h>

#define CGROUPS_MAX 8192

_Static_assert(CONFIG_CEILINGS_MAX <= LEDGER_CEILINGS, "the ledger knows all of them");

bool ceilings_need_commands(const struct promises *promises)
{
    const struct config *config = &promises->daemon->config;
    bool needed = false;
    for (size_t i = 0; i < config->ceiling_count; i++) {
        needed |= config->ceilings[i].match.kind == MATCH_COMMAND;
    }
    return needed;
}

static bool is_on(const struct config_ceiling *ceiling, const struct vram_gpu *gpu)
{
    return config_ceiling_is_on(ceiling, gpu->index, gpu->uuid, gpu->pci);
}

uint32_t ceilings_number(const struct promises *promises, const struct vram_gpu *gpu,
                         const struct vram_process *process)
{
    const struct config *config = &promises->daemon->config;
    const struct match_process known = match_process_of(process);
    for (uint32_t i = 0; process->visible && i < config->ceiling_count; i++) {
        if (match_is_met(&config->ceilings[i].match, &known) && is_on(&config->ceilings[i], gpu)) {
            return i + 1;
        }
    }
    return 0;
}

int ceilings_list(const struct promises *promises, const struct vram_snapshot *snapshot,
                  struct ledger_ceiling **ret_list, size_t *ret_count)
{
    const struct config *config = &promises->daemon->config;
    size_t gpu_count = vram_snapshot_gpu_count(snapshot), count = 0;
    struct ledger_ceiling *list = calloc(config->ceiling_count * gpu_count + 1, sizeof(*list));
    if (!list) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < config->ceiling_count; i++) {
        for (size_t gpu = 0; gpu < gpu_count; gpu++) {
            if (is_on(&config->ceilings[i], vram_snapshot_gpu(snapshot, gpu))) {
                list[count++] = (struct ledger_ceiling){i + 1, gpu, config->ceilings[i].size_bytes};
            }
        }
    }
    *ret_list = list;
    *ret_count = count;
    return 0;
}

/* ---- Who stands for them --------------------------------------------------------------------- */

/* By what does not change while a process lives. */
uint64_t ceilings_of_process(const struct promises *promises, pid_t pid, uint64_t start_time,
                             uid_t uid)
{
    const struct config *config = &promises->daemon->config;
    char cgroups[CGROUPS_MAX], user[METRICS_USER_MAX];
    uint64_t found = 0;
    if (!config->ceiling_count || pid <= 0) {
        return 0;
    }
    const struct account *account =
        containers_account(promises->daemon->containers, pid, start_time);
    view_user(account ? account->number : uid, user);
    const struct match_process known = {
        .user = user,
        .cgroups = process_cgroup("", pid, cgroups, sizeof(cgroups)) < 0 ? NULL : cgroups,
    };
    for (size_t i = 0; i < config->ceiling_count; i++) {
        found |= match_is_met(&config->ceilings[i].match, &known) ? (uint64_t)1 << i : 0;
    }
    return found;
}

static uint64_t ceilings_of_deal(const struct promises *promises, const struct deal *deal)
{
    const struct config *config = &promises->daemon->config;
    uint64_t found = 0;
    for (size_t i = 0; i < config->ceiling_count; i++) {
        for (size_t j = 0; j < deal->attached_count; j++) {
            bool said = match_is_attachment(&config->ceilings[i].match, deal->attached[j].text);
            found |= said ? (uint64_t)1 << i : 0;
        }
    }
    return found;
}

uint64_t ceilings_of_owner(const struct promises *promises, uint64_t key)
{
    const struct owner_process *owner = owners_find(promises->owners, key);
    if (!promises->daemon->config.ceiling_count || !owner) {
        return 0;
    }
    uint64_t found =
        owner->ended ? 0 : ceilings_of_process(promises, owner->pid, owner->start_time, owner->uid);
    for (size_t i = 0; i < deals_count(promises->deals); i++) {
        const struct deal *deal = deals_at(promises->deals, i);
        found |= deal->owner == key ? ceilings_of_deal(promises, deal) : 0;
    }
    return found;
}

void ceilings_put_under(struct promises *promises, uint64_t key)
{
    if (promises->daemon->config.ceiling_count && owners_find(promises->owners, key)) {
        ledger_put_under(promises->ledger, key, ceilings_of_owner(promises, key));
    }
}

void ceilings_changed(struct promises *promises)
{
    ledger_forget_ceilings(promises->ledger);
    for (size_t i = 0; i < owners_count(promises->owners); i++) {
        ceilings_put_under(promises, owners_at(promises->owners, i)->key);
    }
}
