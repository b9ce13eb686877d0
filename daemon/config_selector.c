/* SPDX-License-Identifier: MIT */
/* GPUs as the configuration names them. */
#include "daemon/config.h"

#include "common/gpu_name.h"
#include "common/text.h"
#include <stdlib.h>
#include <string.h>

bool config_is_selector(const char *text)
{
    unsigned address[4];
    size_t length = strlen(text);
    return length > 0 && (gpu_name_is_number(text, length) || gpu_name_parse_pci(text, address) ||
                          gpu_name_is_uuid_like(text));
}

bool config_means(const char *selector, uint64_t index, const char *uuid, const char *pci)
{
    unsigned wanted[4], address[4];
    size_t length = strlen(selector);
    if (gpu_name_is_number(selector, length)) {
        return strtoul(selector, NULL, 10) == index;
    }
    if (gpu_name_parse_pci(selector, wanted)) {
        return pci && gpu_name_parse_pci(pci, address) &&
               memcmp(address, wanted, sizeof(address)) == 0;
    }
    return gpu_name_begins_uuid(selector, length, uuid);
}

bool config_next_selector(const char **rest, char selector[CONFIG_SELECTOR_MAX])
{
    *rest += strspn(*rest, " \t,");
    size_t length = strcspn(*rest, " \t,");
    /* What is too long is no selector, nor is its beginning. */
    (void)text_copy_n(selector, CONFIG_SELECTOR_MAX, *rest,
                      length < CONFIG_SELECTOR_MAX ? length : 0);
    *rest += length;
    return length > 0;
}

bool config_ceiling_is_on(const struct config_ceiling *ceiling, uint64_t index, const char *uuid,
                          const char *pci)
{
    char selector[CONFIG_SELECTOR_MAX];
    for (const char *rest = ceiling->gpus; config_next_selector(&rest, selector);) {
        if (config_means(selector, index, uuid, pci)) {
            return true;
        }
    }
    return !ceiling->gpus[0];
}
