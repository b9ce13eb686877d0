/* SPDX-License-Identifier: MIT */
/* The ids of leases, for those who put them into requests. */
#ifndef VRAM_LIB_LEASE_INNER_H
#define VRAM_LIB_LEASE_INNER_H

#include "lib/err.h"

#define LEASES "/v1/leases"

enum { ID_LENGTH = 16, ID_BEGINNING = 4, TARGET_MAX = 64 };

/* Copies an id of at least `least` digits, in small letters. 0; -EINVAL: it is none. */
MUST_CHECK int lease_read_id(const char *text, size_t least, char id[ID_LENGTH + 1],
                             struct err *err);

#endif
