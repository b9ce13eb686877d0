/* SPDX-License-Identifier: MIT */
/* A daemon that answers one request with the bytes that it was given, in a thread. */
#ifndef VRAM_TESTS_ONE_ANSWER_H
#define VRAM_TESTS_ONE_ANSWER_H

#include <stddef.h>

#define ANSWER_PARTS 16

enum answer_end {
    ANSWER_CLOSES,
    ANSWER_RESETS,  /* closes with the request unread */
    ANSWER_HANGS,   /* until the client has gone */
    ANSWER_NO_MORE, /* does not accept: the queue of connections fills up */
};

/* Listens in a directory of its own. Parts are sent one after the other, each in a write of its own. Returns the
 * socket's path, valid until one_answer_stop(). */
const char *one_answer_start(enum answer_end end, const char *const *parts, const size_t *sizes);

/* Waits for the thread; returns the request that it saw, "" where it saw none, valid until the next start. */
const char *one_answer_stop(void);

#endif
