/* SPDX-License-Identifier: MIT */
/* Who may do what with leases: by what the kernel says of a client, and the groups of the configuration. */
#ifndef VRAM_DAEMON_RIGHTS_H
#define VRAM_DAEMON_RIGHTS_H

#include "daemon/config.h"
#include "daemon/peer.h"

struct rights {
    bool everyone; /* whoever can connect may lease: a user's own daemon */
    bool lease_group_known, admin_group_known;
    gid_t lease_group, admin_group;
};

/* Looks the groups up; a group that does not exist has no members. May take as long as the machine's user data base. */
struct rights rights_of(const struct config *config, bool everyone);

bool rights_admin(const struct rights *rights, const struct peer *peer);
bool rights_lease(const struct rights *rights, const struct peer *peer);
/* Whether it may end and change what is `uid`'s. */
bool rights_rule(const struct rights *rights, const struct peer *peer, uid_t uid);

#endif
