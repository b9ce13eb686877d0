/* SPDX-License-Identifier: MIT */
/*
 * Users that a container's label names. Whoever the machine knows by that name has the number that the machine has for it,
 * and what it leases in containers and outside of them is counted together; others get a number that is no user's.
 * For the life of the daemon; not for several threads.
 */
#ifndef VRAM_DAEMON_ACCOUNTS_H
#define VRAM_DAEMON_ACCOUNTS_H

#include <stdbool.h>
#include <stdint.h>

#define ACCOUNT_NAME_MAX 33 /* as [user NAME] has them */

struct account {
    uint32_t number;
    char name[ACCOUNT_NAME_MAX];
};

/* Whether it may be a user's name: a letter or "_", then such, digits and ".", "-", "@". */
bool account_is_name(const char *name);

/* The account of that name, which account_is_name(); stays where it is. NULL: there are too many, or no memory. */
const struct account *account_named(const char *name);

/* One that only a label names. NULL: the number is the machine's own, or nobody's. */
const struct account *account_numbered(uint32_t number);

#endif
