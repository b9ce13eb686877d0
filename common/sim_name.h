/* SPDX-License-Identifier: MIT */
/*
 * The words in which a simulated machine is chosen, "rtx4090", "r470/rtx4090@demo", "./my.scenario": what they name, for
 * all who must agree on it: the simulated driver, the library that loads it, and the daemon of that machine.
 */
#ifndef VRAM_COMMON_SIM_NAME_H
#define VRAM_COMMON_SIM_NAME_H

#include "common/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Up to two names of 40 and what joins them. */
#define SIM_NAME_KEY_MAX 88

struct sim_name {
    const char *text;     /* a profile's name or a scenario file's path, … */
    size_t length;        /* … of this length */
    const char *instance; /* "default" where none was named */
    bool is_path;         /* there is a '/' in it */
    bool named_instance;
};

/* A generation in front, "r470/": its length with the slash, 0 where there is none. */
size_t sim_name_generation(const char *text);

/* Takes "NAME[@INSTANCE]" or "PATH[@INSTANCE]" apart; a generation must be skipped before. Points into `text`. */
struct sim_name sim_name_split(const char *text);

/* Whether a profile's or instance's name is one: up to 40 letters, digits, '.', '_' and '-', no '.' first. */
bool sim_name_is_plain(const char *text, size_t length);

/* The machine's own name: "rtx4090@default"; of a file "file-0123456789abcdef@default", by where it is, so that files of
 * the same name in different directories are different machines. Returns `key`. */
const char *sim_name_key(const struct sim_name *name, char key[SIM_NAME_KEY_MAX]);

/* Directory number `which`, from 0, in which machines may keep their state, "" where the environment does not name it; false
 * behind the last. @chosen is $VRAM_SIM_STATE_DIR, @runtime $XDG_RUNTIME_DIR; NULL or "": unset. */
bool sim_name_state_directory(unsigned which, const char *chosen, const char *runtime, uid_t uid,
                              char *path, size_t size);

#endif
