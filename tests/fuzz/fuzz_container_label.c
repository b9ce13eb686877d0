/* SPDX-License-Identifier: MIT */
#include "daemon/container_label.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

/* What an engine wrote of a container: whoever started that chose much of it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char label[] = "vram.user";
    char user[ACCOUNT_NAME_MAX];
    char *text = malloc(size + 1); /* of its size: a NUL within it is a part of it */
    MUST(text);
    memcpy(text, data, size);
    int r = container_label_parse(text, size, label, user);
    if (r == 1) {
        MUST(strlen(user) < sizeof(user) && account_is_name(user));
    }
    free(text);
    return 0;
}
