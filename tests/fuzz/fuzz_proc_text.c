/* SPDX-License-Identifier: MIT */
#include "lib/proc_text.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    char name[PROC_NAME_MAX], container[PROC_CONTAINER_MAX], unit[PROC_UNIT_MAX];
    uint64_t start_time = 0;
    uint32_t uid = 0;
    if (proc_stat_parse(text, name, &start_time) == 0) {
        MUST(strlen(name) < sizeof(name) && strchr(text, '('));
    }
    if (proc_uid_parse(text, &uid) == 0) {
        MUST(strstr(text, "Uid:"));
    }
    proc_cgroup_parse(text, container, unit);
    MUST(strlen(container) < sizeof(container) && strlen(unit) < sizeof(unit));
    MUST(!strchr(container, '/') && !strchr(unit, '/'));
    size_t joined = proc_command_join(text, size);
    MUST(joined <= size && strlen(text) == joined);
    free(text);
    return 0;
}
