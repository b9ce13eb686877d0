/* SPDX-License-Identifier: MIT */
/*
 * One line of a scenario: its words, and what a word means as a number, a size, a time. Read by
 * sim/scenario.c and sim/statement.c. Everything here takes hostile input.
 */
#ifndef VRAM_SIM_WORDS_H
#define VRAM_SIM_WORDS_H

#include "common/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORDS_LINE_MAX 1024 /* bytes of a line, without its end */
#define WORDS_MAX 64

/* Why a line was refused: what is wrong and what to write instead, without file and line number. */
struct complaint {
    char text[256];
};

/* Sets the text. Returns -EINVAL, so that a parser can end with it. */
int complain(struct complaint *complaint, const char *format, ...) PRINTF_LIKE(2, 3);

/* A line taken apart. Words are separated by blanks; "double quotes" keep blanks together, also in
 * the middle of a word (name="RTX 4090"), and there a backslash stands before a quote, a backslash, or x and a byte as two
 * hexadecimal digits; elsewhere it is itself. A # at the start of a word ends the line. */
struct words {
    char text[WORDS_LINE_MAX + 1];
    char *word[WORDS_MAX];
    size_t count;
    size_t next; /* the first word not yet taken */
};

/* 0, or -EINVAL: too long, too many words, an open quote, control characters. */
MUST_CHECK int words_split(struct words *words, const char *line, size_t length,
                           struct complaint *complaint);
/* The next word, NULL at the end of the line. */
char *words_next(struct words *words);
/* Takes KEY=VALUE apart in place. NULL where there is no '='. */
char *words_value(char *word);

/* Each: 0, or -EINVAL with a complaint that names `key` and the text. */
MUST_CHECK int value_number(const char *key, const char *text, uint64_t most, uint64_t *ret,
                            struct complaint *complaint);
/* Thousandths of a number with up to three decimals; `most` is in whole ones. */
MUST_CHECK int value_thousandths(const char *key, const char *text, uint64_t most, uint64_t *ret,
                                 struct complaint *complaint);
/* A size of common/size.h, with its unit written out; 0 is a size here. */
MUST_CHECK int value_size(const char *key, const char *text, uint64_t *ret,
                          struct complaint *complaint);
/* Nanoseconds: a duration of common/size.h with its unit written out, or microseconds ("4500us"). */
MUST_CHECK int value_time(const char *key, const char *text, uint64_t *ret,
                          struct complaint *complaint);
MUST_CHECK int value_switch(const char *key, const char *text, uint64_t *ret,
                            struct complaint *complaint);
/* One of `names` (NULL-terminated); its place in the list. */
MUST_CHECK int value_choice(const char *key, const char *text, const char *const *names,
                            uint64_t *ret, struct complaint *complaint);
MUST_CHECK int value_text(const char *key, const char *text, char *ret, size_t size,
                          struct complaint *complaint);

struct pci_address {
    uint32_t domain, bus, device, function;
};

/* "0000:01:00.0", with a domain of any width or without one. 0 or -EINVAL. */
MUST_CHECK int pci_parse(const char *text, struct pci_address *ret);

#endif
