/* SPDX-License-Identifier: MIT */
#include "lib/source/nvml.h"
#include "tests/fuzz/fuzz.h"

/* The first byte is the count that the driver claims, the rest what it left in the buffer. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size) {
        unsigned entry = nvml_entry_size(data + 1, size - 1, data[0]);
        MUST(entry == 0 || entry == 16 || entry == 24 || entry == 32);
        MUST((size_t)entry * data[0] <= (size - 1 + 7) / 8 * 8);
    }
    return 0;
}
