/* SPDX-License-Identifier: MIT */
#include "cli/figures.h"

#include "cli/text.h"
#include "common/size.h"
#include <inttypes.h>
#include <stdio.h>

static const char *unknown(const struct screen *screen, char text[FIGURE_MAX])
{
    (void)snprintf(text, FIGURE_MAX, "%s", screen_symbol(screen, SYMBOL_UNKNOWN));
    return text;
}

const char *figure_bytes(const struct screen *screen, uint64_t bytes, char text[FIGURE_MAX])
{
    return bytes == VRAM_UNKNOWN ? unknown(screen, text) : size_format(bytes, text);
}

const char *figure_value(const struct screen *screen, struct vram_value value,
                         char text[FIGURE_MAX])
{
    char size[SIZE_TEXT_MAX];
    if (value.type == VRAM_VALUE_NUMBER) {
        return figure_bytes(screen, value.number, text);
    }
    if (value.type != VRAM_VALUE_SIGNED) {
        return unknown(screen, text);
    }
    uint64_t size_bytes =
        value.signed_number < 0 ? 0 - (uint64_t)value.signed_number : (uint64_t)value.signed_number;
    (void)snprintf(text, FIGURE_MAX, "%s%s",
                   value.signed_number < 0 ? screen_symbol(screen, SYMBOL_MINUS) : "",
                   size_format(size_bytes, size));
    return text;
}

const char *figure_celsius(const struct screen *screen, uint64_t degrees, char text[FIGURE_MAX])
{
    if (degrees == VRAM_UNKNOWN) {
        return unknown(screen, text);
    }
    (void)snprintf(text, FIGURE_MAX, "%" PRIu64 " %s", degrees,
                   screen_symbol(screen, SYMBOL_DEGREES));
    return text;
}

const char *figure_percent(const struct screen *screen, uint64_t percent, char text[FIGURE_MAX])
{
    if (percent == VRAM_UNKNOWN) {
        return unknown(screen, text);
    }
    (void)snprintf(text, FIGURE_MAX, "%" PRIu64 " %%", percent);
    return text;
}

size_t figure_cells(uint64_t bytes, uint64_t total, size_t cells)
{
    if (bytes == VRAM_UNKNOWN || bytes == 0) {
        return 0;
    }
    double part = (double)bytes / (double)total * (double)cells;
    return part < 1 ? 1 : part > (double)cells ? cells : (size_t)(part + 0.5);
}

const char *figure_age(uint64_t ms, char text[FIGURE_MAX])
{
    uint64_t seconds = ms / 1000;
    if (seconds < 120) {
        (void)snprintf(text, FIGURE_MAX, "%" PRIu64 " s", seconds);
    } else if (seconds < 7200) {
        (void)snprintf(text, FIGURE_MAX, "%" PRIu64 " min", seconds / 60);
    } else {
        (void)snprintf(text, FIGURE_MAX, "%" PRIu64 " h", seconds / 3600);
    }
    return text;
}

const char *figure_mib(const struct screen *screen, uint64_t bytes, bool up, char text[FIGURE_MAX])
{
    if (bytes == VRAM_UNKNOWN) {
        return unknown(screen, text);
    }
    return text_number(bytes / MIB + (up && bytes % MIB ? 1 : 0), text);
}
