/* SPDX-License-Identifier: MIT */
/*
 * What help says of a command or of the program, told piece by piece to whoever writes it: onto a screen, into a manual
 * page. It is made of the tables of commands, options, fields and exit statuses, and stands nowhere else.
 */
#ifndef VRAM_CLI_HELP_H
#define VRAM_CLI_HELP_H

#include "cli/command.h"

/* What an item of a list is about. */
enum help_item {
    HELP_COMMAND,  /* "run SIZE -- COMMAND..." */
    HELP_OPTION,   /* "-h, --help", "--gpu SEL" */
    HELP_KEY,      /* of JSON and CSV */
    HELP_STATUS,   /* the program's, as a number */
    HELP_VARIABLE, /* of the environment */
    HELP_EXAMPLE,  /* a whole command line */
};

/* What writes it. Texts are prose: a blank line between paragraphs, `backquotes` around what is typed. */
struct help_form {
    void (*usage)(void *page, const char *words); /* what comes behind "vram"; first of all */
    void (*text)(void *page, const char *text);
    void (*title)(void *page, const char *title);
    void (*item)(void *page, enum help_item kind, const char *term, const char *meaning);
};

/* What the program is, in a sentence. */
extern const char help_program[];

/* Tells all of one command, or of the program where it is NULL. */
void help_tell(const struct help_form *form, void *page, const struct command *command);

#endif
