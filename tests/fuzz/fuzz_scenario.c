/* SPDX-License-Identifier: MIT */
#include "sim/scenario.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

/* Garbage gets one line that names the place; what is accepted can be given back. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct scenario scenario;
    struct complaint complaint = {0};
    if (scenario_parse((const char *)data, size, "fuzz", &scenario, &complaint) == 0) {
        MUST(scenario.driver[0]);
        scenario_done(&scenario);
    } else {
        MUST(complaint.text[0] && !strchr(complaint.text, '\n'));
    }
    return 0;
}
