/* SPDX-License-Identifier: MIT */
/*
 * Who may come in over TCP: where is listened, which names a client may call this machine by, and the token. Pure but for
 * gate_read_token(). All that clients say is hostile.
 *
 * A page in somebody's browser can make it ask 127.0.0.1, also under a name of the page's own that was made to lead there. So
 * a request must be for a name that is this machine's, and must not come from another site's page.
 */
#ifndef VRAM_DAEMON_GATE_H
#define VRAM_DAEMON_GATE_H

#include "common/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#define GATE_TEXT_MAX 64   /* of an address */
#define GATE_TOKEN_MIN 16  /* characters of a token */
#define GATE_TOKEN_MAX 257 /* with its NUL */
#define GATE_PROBLEM_MAX 512

struct gate_address {
    struct sockaddr_storage address;
    socklen_t size;
    char text[GATE_TEXT_MAX]; /* "127.0.0.1:9464", "[::1]:9464" */
    bool is_loopback;         /* no other machine can reach it */
    bool is_any;              /* it is no address of a machine, but all of them */
};

/* "9464" (of 127.0.0.1), "ADDR:PORT" with an IPv4 address or localhost, "[ADDR]:PORT". Port 0 is one that the kernel chooses.
 * 0; -EINVAL. */
MUST_CHECK int gate_parse_address(const char *text, struct gate_address *ret_address);
/* The same of a socket that is bound. 0; negative errno. */
MUST_CHECK int gate_address_of(int fd, struct gate_address *ret_address);

/* Whether a Host header (NULL: none) names this machine: localhost, 127.0.0.1, [::1], the address listened on, or one of
 * `hosts`, names with blanks between them; with any port. */
bool gate_knows_host(const char *host, const struct gate_address *listened, const char *hosts);
/* Whether an Origin header, if there is one, is of a page of this machine. */
bool gate_knows_origin(const char *origin, const struct gate_address *listened, const char *hosts);
/* Whether a Sec-Fetch-Site header, if there is one, says that no other site's page asks. */
bool gate_knows_site(const char *site);
/* Whether all in a list of hosts could be names of machines. */
bool gate_are_hosts(const char *hosts);

/* Whether an Authorization header (NULL: none) has this token. Takes as long wherever the two differ. */
bool gate_has_token(const char *authorization, const char *token);

/* The token in a file that nobody but its owner may read. 0; negative errno with a sentence in `problem`. */
MUST_CHECK int gate_read_token(const char *path, char token[GATE_TOKEN_MAX],
                               char problem[GATE_PROBLEM_MAX]);

#endif
