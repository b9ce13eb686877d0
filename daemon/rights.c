/* SPDX-License-Identifier: MIT */
#include "daemon/rights.h"

#include <grp.h>

static bool find_group(const char *name, gid_t *ret_gid)
{
    char room[4096];
    struct group entry, *found = NULL;
    if (!name[0] || getgrnam_r(name, &entry, room, sizeof(room), &found) != 0 || !found) {
        return false;
    }
    *ret_gid = entry.gr_gid;
    return true;
}

struct rights rights_of(const struct config *config, bool everyone)
{
    struct rights rights = {.everyone = everyone};
    rights.lease_group_known = find_group(config->lease_group, &rights.lease_group);
    rights.admin_group_known = find_group(config->admin_group, &rights.admin_group);
    return rights;
}

bool rights_admin(const struct rights *rights, const struct peer *peer)
{
    return peer_is_admin(peer) ||
           (rights->admin_group_known && peer_in_group(peer, rights->admin_group));
}

bool rights_lease(const struct rights *rights, const struct peer *peer)
{
    return rights->everyone || rights_admin(rights, peer) ||
           (rights->lease_group_known && peer_in_group(peer, rights->lease_group));
}

bool rights_rule(const struct rights *rights, const struct peer *peer, uid_t uid)
{
    return peer->uid == uid || rights_admin(rights, peer);
}
