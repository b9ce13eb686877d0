/* SPDX-License-Identifier: MIT */
/* The model on a terminal, by ncurses. */
#ifndef VRAM_TOP_DRAW_H
#define VRAM_TOP_DRAW_H

#include "cli/screen.h"
#include "top/model.h"

/* What lies over the figures, or stands in the last line. */
enum mode { MODE_PLAIN, MODE_HELP, MODE_FILTER, MODE_CONFIRM };

struct drawing {
    struct screen screen; /* its symbols, and whether there is colour */
    enum mode mode;
    const char *message; /* in the last line; "": the keys */
    uint64_t now_ns;     /* since 1970 */
};

/* Begins; false: this terminal cannot show it. */
bool draw_begin(struct drawing *drawing);
void draw_end(void);
void draw(const struct drawing *drawing, struct model *model);

#endif
