/* SPDX-License-Identifier: MIT */
#include "common/size.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

/* What was read is an amount, and what is printed of it fits its array. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size), shown[SIZE_TEXT_MAX];
    uint64_t bytes = 0, margin = 0, ns = 0;
    uint32_t millipercent = 0;
    bool bare;
    if (size_parse(text, &bytes, &bare) == 0) {
        MUST(bytes > 0 && bytes < UINT64_MAX);
        MUST(strlen(size_format(bytes, shown)) < sizeof(shown));
        /* A size is a margin too, and the same one. */
        MUST(margin_parse(text, &margin, &millipercent) == 0 && margin == bytes && !millipercent);
    }
    if (margin_parse(text, &margin, &millipercent) == 0) {
        MUST(millipercent <= 100000 && (margin == 0 || millipercent == 0));
        MUST(margin_of(UINT64_MAX - 1, millipercent) <= UINT64_MAX - 1);
    }
    if (duration_parse(text, &ns) == 0) {
        MUST(ns <= INT64_MAX);
    }
    free(text);
    return 0;
}
