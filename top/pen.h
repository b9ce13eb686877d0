/* SPDX-License-Identifier: MIT */
/* Writes a line of the screen from left to right and never beyond its end. What others have named is made safe. */
#ifndef VRAM_TOP_PEN_H
#define VRAM_TOP_PEN_H

#include "cli/screen.h"
#include "common/attr.h"

struct pen {
    const struct screen *screen;
    int line;
    size_t at, width; /* columns */
    bool reversed;    /* the line under the cursor */
};

struct pen pen_at(const struct screen *screen, int line, size_t width);
void pen_colours(void); /* once, after ncurses has begun */
void pen_text(struct pen *pen, enum style style, const char *text);
void pen_format(struct pen *pen, enum style style, const char *format, ...) PRINTF_LIKE(3, 4);
/* Text in a column of its own, at the left or at the right; cut where it is too long. Two blanks follow. */
void pen_cell(struct pen *pen, enum style style, const char *text, size_t width, bool right);
void pen_symbols(struct pen *pen, enum style style, const char *symbol, size_t count);
/* Goes on at that column. */
void pen_to(struct pen *pen, size_t column);
/* Blanks to the line's end. */
void pen_end(struct pen *pen);

#endif
