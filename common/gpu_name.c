/* SPDX-License-Identifier: MIT */
#include "common/gpu_name.h"

#include "common/text.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool gpu_name_is_number(const char *text, size_t length)
{
    return length > 0 && length <= 9 && strspn(text, "0123456789") >= length;
}

bool gpu_name_is_uuid_like(const char *text)
{
    return text[strspn(text, "0123456789abcdefABCDEFgpumiGPUMI-/")] == '\0';
}

bool gpu_name_begins_uuid(const char *text, size_t length, const char *uuid)
{
    if (!uuid) {
        return false;
    }
    bool bare = text_begins(uuid, "GPU-", 4) || text_begins(uuid, "MIG-", 4);
    return text_begins(uuid, text, length) || (bare && text_begins(uuid + 4, text, length));
}

bool gpu_name_parse_pci(const char *text, unsigned ret_address[4])
{
    char end;
    unsigned domain = 0, bus, device, function;
    if (text[strspn(text, "0123456789abcdefABCDEF:.")]) {
        return false; /* sscanf() would take blanks and signs as well */
    }
    if (sscanf(text, "%8x:%2x:%2x.%1u%c", &domain, &bus, &device, &function, &end) != 4) {
        domain = 0;
        if (sscanf(text, "%2x:%2x.%1u%c", &bus, &device, &function, &end) != 3) {
            return false;
        }
    }
    ret_address[0] = domain;
    ret_address[1] = bus;
    ret_address[2] = device;
    ret_address[3] = function;
    return true;
}

const char *gpu_name_label(uint32_t index, uint64_t mig_index, char label[GPU_NAME_LABEL_MAX])
{
    if (mig_index == UINT64_MAX) {
        (void)snprintf(label, GPU_NAME_LABEL_MAX, "%" PRIu32, index);
    } else {
        (void)snprintf(label, GPU_NAME_LABEL_MAX, "%" PRIu32 ":%" PRIu64, index, mig_index);
    }
    return label;
}
