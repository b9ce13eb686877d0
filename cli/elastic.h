/* SPDX-License-Identifier: MIT */
/* Programs that take whatever memory they find, by their names: what they held says nothing of what they need. */
#ifndef VRAM_CLI_ELASTIC_H
#define VRAM_CLI_ELASTIC_H

#include <stddef.h>

/* How such a program is told what to take, for a command of one; NULL: it is not known as one. */
const char *elastic_option(const char *const *words);

#endif
