/* SPDX-License-Identifier: MIT */
#include "daemon/accounts.h"

#include "common/text.h"
#include <pwd.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Numbers that no user has: beyond 2^31 programs take them for negative ones, so that nobody gives them away. */
#define FIRST_NUMBER UINT32_C(0xF0000000)
#define MOST 4096

static struct account *accounts[MOST];
static size_t count;

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

bool account_is_name(const char *name)
{
    if (!is_letter(name[0]) || strlen(name) >= ACCOUNT_NAME_MAX) {
        return false;
    }
    for (const char *c = name; *c; c++) {
        if (!is_letter(*c) && !(*c >= '0' && *c <= '9') && !strchr(".-@", *c)) {
            return false;
        }
    }
    return true;
}

static uint32_t number_of(const char *name)
{
    char room[4096];
    struct passwd entry, *found = NULL;
    bool is_known = getpwnam_r(name, &entry, room, sizeof(room), &found) == 0 && found;
    return is_known ? entry.pw_uid : FIRST_NUMBER + (uint32_t)count;
}

const struct account *account_named(const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(accounts[i]->name, name) == 0) {
            return accounts[i];
        }
    }
    struct account *account = count < MOST ? malloc(sizeof(*account)) : NULL;
    if (account) {
        account->number = number_of(name);
        (void)text_copy(account->name, sizeof(account->name), name);
        accounts[count++] = account;
    }
    return account;
}

const struct account *account_numbered(uint32_t number)
{
    size_t place = number - FIRST_NUMBER;
    return number >= FIRST_NUMBER && place < count && accounts[place]->number == number
               ? accounts[place]
               : NULL;
}
