/* SPDX-License-Identifier: MIT */
#include "daemon/reclaim_match.h"

#include "daemon/config_holders.h"
#include "daemon/match.h"

bool reclaim_is_of(const char *match, const struct vram_process *process)
{
    const struct match_process known = match_process_of(process);
    char word[HOLDER_TEXT_MAX];
    while (config_holder_word(&match, word, sizeof(word))) {
        struct match one;
        if (match_parse(word, &one) == 0 && match_is_met(&one, &known)) {
            return true;
        }
    }
    return false;
}
