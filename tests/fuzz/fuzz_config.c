/* SPDX-License-Identifier: MIT */
#include "daemon/config.h"
#include "include/vram.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

/* Garbage gets one line that can be shown and names the place; what is accepted keeps its bounds. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char problem[CONFIG_PROBLEM_MAX] = "";
    struct config config;
    char *text = fuzz_text(data, size);
    int r = config_parse("fuzz", text, size, &config, problem);
    MUST(r == 0 || r == -EINVAL);
    if (r == 0) {
        struct config_margin margin = config_margin_for(&config, 0, "GPU-0", "0000:01:00.0");
        MUST(margin.millipercent <= 100000 && (!margin.bytes || !margin.millipercent));
        MUST(config_margin_bytes(margin, 1000) != VRAM_UNKNOWN);
        MUST(config.max_waiters >= 1 && config.max_waiters <= 65536 && config.max_leases >= 1 &&
             config.max_leases <= 65536 && config.linger_ns <= INT64_MAX);
        MUST(config.history <= CONFIG_HISTORY_OFF && config.history_max_bytes >= 1 << 20);
        MUST(strlen(config.lease_group) < CONFIG_GROUP_MAX);
        MUST(strlen(config.admin_group) < CONFIG_GROUP_MAX);
        struct config_limits limits = config_limits_for(&config, 1, "ada");
        MUST(limits.bytes && limits.gpus && limits.leases && limits.waiters);
        MUST(limits.bytes <= CONFIG_SIZE_MAX || limits.bytes == UINT64_MAX);
        MUST(config.idle_after_ns <= INT64_MAX && config.idle_notice_ns <= INT64_MAX);
        MUST(config.ceiling_count <= CONFIG_CEILINGS_MAX);
        for (size_t i = 0; i < config.ceiling_count; i++) {
            const struct config_ceiling *ceiling = &config.ceilings[i];
            const struct match_process nobody = {0};
            MUST(ceiling->name[0] && ceiling->size_bytes && ceiling->size_bytes <= CONFIG_SIZE_MAX);
            MUST(ceiling->match.value[0] && !match_is_met(&ceiling->match, &nobody));
            MUST(config_ceiling_is_on(ceiling, 0, "GPU-0", NULL) || ceiling->gpus[0]);
        }
        MUST(problem[0] == '\0');
        config_done(&config);
    } else {
        MUST(strncmp(problem, "fuzz:", 5) == 0 && strlen(problem) < CONFIG_PROBLEM_MAX);
        for (const char *c = problem; *c; c++) {
            MUST(*c >= ' ' && *c <= '~');
        }
    }
    free(text);
    return 0;
}
