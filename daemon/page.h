/* SPDX-License-Identifier: MIT */
/*
 * The live page: files of daemon/web/, compressed when they were built in. They are the same for everybody and tell nothing of
 * the machine, so they need no token: the page asks for it and sends it with what it reads.
 */
#ifndef VRAM_DAEMON_PAGE_H
#define VRAM_DAEMON_PAGE_H

#include "daemon/daemon.h"

struct page_file {
    const char *path, *type, *etag;
    const unsigned char *gzip; /* the file, compressed */
    size_t gzip_length;
};

/* Made by daemon/web/embed.py; ends with a path of NULL. */
extern const struct page_file page_files[];

/* Whether a request is for a part of the page. */
bool page_is_of(const struct http_request *request);

void page_answer(struct daemon *daemon, struct http_request *request);

#endif
