/* SPDX-License-Identifier: MIT */
/*
 * What stdout can show: its width, colour, and whether ✓ and bars arrive as such.
 */
#ifndef VRAM_CLI_SCREEN_H
#define VRAM_CLI_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

struct screen {
    bool terminal; /* otherwise nothing is cut: programs and files want it whole */
    bool colour;
    bool utf8;
    size_t width;  /* in columns; 80 where there is no terminal */
    size_t height; /* in lines; 0: endless */
};

enum style {
    STYLE_NONE = 0,
    STYLE_STRONG,
    STYLE_FAINT,
    STYLE_GOOD,
    STYLE_WARN,
    STYLE_BAD,
};

enum symbol {
    SYMBOL_UNKNOWN, /* a figure that the driver cannot tell */
    SYMBOL_YES,
    SYMBOL_NO,
    SYMBOL_MINUS,
    SYMBOL_CUT, /* text goes on */
    SYMBOL_DEGREES,
    SYMBOL_BAR_USED,
    SYMBOL_BAR_PROMISED,
    SYMBOL_BAR_DRIVER,
    SYMBOL_BAR_FREE,
};

/* `colour` is "always", "never" or "auto". Sets the program's locale for characters. */
void screen_init(struct screen *screen, const char *colour);

/* The sequence that begins a style, and the one that ends every style; "" without colour. */
const char *screen_style(const struct screen *screen, enum style style);
const char *screen_plain(const struct screen *screen);

const char *screen_symbol(const struct screen *screen, enum symbol symbol);

#endif
