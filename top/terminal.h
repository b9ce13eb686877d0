/* SPDX-License-Identifier: MIT */
/* What terminfo says. A file of its own: its header makes macros of columns and lines. */
#ifndef VRAM_TOP_TERMINAL_H
#define VRAM_TOP_TERMINAL_H

#include <stdbool.h>

/* Whether the terminal that TERM names is known. Asked before newterm(), which does not give all its memory back where
 * it is not. */
bool terminal_is_known(void);

#endif
