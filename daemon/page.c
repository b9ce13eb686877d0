/* SPDX-License-Identifier: MIT */
#include "daemon/page.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

/* Nothing but its own files, and no text that becomes markup. */
#define POLICY                                                                                     \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "              \
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "            \
    "require-trusted-types-for 'script'"

bool page_is_of(const struct http_request *request)
{
    return strcmp(http_path(request), "/") == 0 || strncmp(http_path(request), "/web/", 5) == 0;
}

static const struct page_file *find(const char *path)
{
    for (const struct page_file *file = page_files; file->path; file++) {
        if (strcmp(file->path, path) == 0) {
            return file;
        }
    }
    return NULL;
}

/* Whether a list with commas has a word, which is not said to be worth 0: "gzip;q=0". */
static bool accepts(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; *at; at += strcspn(at, ",")) {
        at += strspn(at, ", \t");
        const char *rest = at + length;
        if (strncasecmp(at, word, length) == 0 && !isalnum((unsigned char)*rest) && *rest != '-') {
            size_t end = strcspn(rest, ",");
            const char *weight = memchr(rest, '=', end);
            return !weight || strspn(weight + 1, "0.") != strcspn(weight + 1, ", \t");
        }
    }
    return false;
}

/* Who says nothing takes anything; and all that is here is compressed. */
static bool accepts_gzip(const struct http_request *request)
{
    const char *list = http_header(request, "Accept-Encoding");
    return !list || accepts(list, "gzip") || accepts(list, "*");
}

void page_answer(struct daemon *daemon, struct http_request *request)
{
    const struct page_file *file = find(http_path(request));
    const char *known = http_header(request, "If-None-Match");
    (void)daemon;
    if (!file) {
        http_fail(request, 404, "not_found", ENOENT, "the page is at /", "the page has no %s",
                  http_path(request));
        return;
    }
    if (!accepts_gzip(request)) {
        http_fail(request, 406, "not_acceptable", EINVAL, "`curl --compressed` asks for it",
                  "the page is there compressed with gzip, and the client does not take that");
        return;
    }
    http_set_header(request, "Content-Security-Policy", POLICY);
    http_set_header(request, "Cross-Origin-Opener-Policy", "same-origin");
    http_set_header(request, "Cross-Origin-Resource-Policy", "same-origin");
    http_set_header(request, "Referrer-Policy", "no-referrer");
    http_set_header(request, "Cache-Control", "no-cache"); /* is asked for again, and rarely sent */
    http_set_header(request, "Vary", "Accept-Encoding");
    http_set_header(request, "ETag", file->etag);
    if (known && strstr(known, file->etag)) {
        http_answer_text(request, 304, file->type, "", 0);
    } else {
        http_set_header(request, "Content-Encoding", "gzip");
        http_answer_text(request, 200, file->type, (const char *)file->gzip, file->gzip_length);
    }
}
