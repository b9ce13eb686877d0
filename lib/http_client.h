/* SPDX-License-Identifier: MIT */
/*
 * One question to the daemon: a request over its unix socket, and the answer. Knows neither what is asked nor JSON. One
 * connection per call, made in the calling process, which is how the daemon knows who asks. Raises no signal, goes on
 * after interruptions, keeps nothing. Safe for threads.
 */
#ifndef VRAM_LIB_HTTP_CLIENT_H
#define VRAM_LIB_HTTP_CLIENT_H

#include "common/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_BODY_MAX ((size_t)64 << 20) /* a larger answer is refused */
#define HTTP_LINE_MAX ((size_t)1 << 20)  /* and a longer line */

struct http_reply {
    int status;    /* 200 to 599 */
    char *body;    /* for free(3); NUL-terminated, never NULL after success, may have NULs in it */
    size_t length; /* of body, without the NUL at its end */
};

/* One line of an answer that comes in lines, without its end. False ends the call. */
typedef bool (*http_line_function)(void *data, const char *line);

/*
 * @target       path and query: "/v1/snapshot?take=health"
 * @body         JSON; NULL: none
 * @deadline_ns  CLOCK_MONOTONIC, for the whole call; UINT64_MAX: none
 * @line         not NULL: an answer with status 200 is handed over line by line as it arrives, lines without
 *               anything in them left out; its last line is then the reply's body. Other answers come whole.
 *
 * 0 with the reply, whatever its status;
 * -ENOENT, -ECONNREFUSED, -EACCES: nobody is there, nobody listens, not for us; nothing was sent;
 * -ECONNRESET: the daemon ended before it had said anything, or broke off; the request may have been obeyed or not;
 * -EPROTO: what came is no HTTP, is shorter than it said, or too long;
 * -ETIMEDOUT; -ECANCELED: `line` ended it; -ENAMETOOLONG: no such path can be a socket's; -ENOMEM;
 * or what socket(2) and connect(2) fail with.
 */
MUST_CHECK int http_call(const char *socket_path, const char *method, const char *target,
                         const char *body, uint64_t deadline_ns, http_line_function line,
                         void *data, struct http_reply *ret_reply);

void http_reply_done(struct http_reply *reply);

#endif
