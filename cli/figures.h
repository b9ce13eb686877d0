/* SPDX-License-Identifier: MIT */
/* Figures as people read them; VRAM_UNKNOWN is the screen's sign for it. All return `text`. */
#ifndef VRAM_CLI_FIGURES_H
#define VRAM_CLI_FIGURES_H

#include "cli/screen.h"
#include "include/vram.h"

#define FIGURE_MAX 40

/* "22.3 GiB" */
const char *figure_bytes(const struct screen *screen, uint64_t bytes, char text[FIGURE_MAX]);
/* The same of a value of the field table, which may be negative. */
const char *figure_value(const struct screen *screen, struct vram_value value,
                         char text[FIGURE_MAX]);
/* "41 °C", "3 %" */
const char *figure_celsius(const struct screen *screen, uint64_t degrees, char text[FIGURE_MAX]);
const char *figure_percent(const struct screen *screen, uint64_t percent, char text[FIGURE_MAX]);
/* How many of a bar's cells an amount takes: in proportion, but at least one where there is any; none where it is unknown. */
size_t figure_cells(uint64_t bytes, uint64_t total, size_t cells);
/* "12 s", "3 min": how old something is. */
const char *figure_age(uint64_t ms, char text[FIGURE_MAX]);

/* Exact amounts in MiB with thousands apart, for arithmetic that a reader can check: "22,844". What
 * is no whole number of MiB is rounded down, or up where `up` says so. */
const char *figure_mib(const struct screen *screen, uint64_t bytes, bool up, char text[FIGURE_MAX]);

#endif
