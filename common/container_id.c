/* SPDX-License-Identifier: MIT */
#include "common/container_id.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

/* "docker-<id>.scope", "cri-containerd-<id>.scope", "libpod-<id>", "<id>", and, where containerd and the
 * kubelet differ over who makes cgroups, "kubepods-….slice:cri-containerd:<id>". */
const char *container_id_in(const char *part, size_t length)
{
    for (size_t i = 0; i + CONTAINER_ID_DIGITS <= length; i++) {
        size_t digits = 0;
        while (digits < CONTAINER_ID_DIGITS && isxdigit((unsigned char)part[i + digits])) {
            digits++;
        }
        bool starts = i == 0 || part[i - 1] == '-' || part[i - 1] == ':';
        const char *rest = part + i + digits;
        size_t rest_length = length - i - digits;
        bool ends = rest_length == 0 || (rest_length == 6 && memcmp(rest, ".scope", 6) == 0);
        if (digits == CONTAINER_ID_DIGITS && starts && ends) {
            return part + i;
        }
    }
    return NULL;
}
