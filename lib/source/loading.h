/* SPDX-License-Identifier: MIT */
/*
 * dlopen() into which no fork falls: a child made while another thread is inside the loader has half a library, which it
 * could not use without crashing. Forks wait for it, 2 s at most, for a loader may hang on a dead file system.
 */
#ifndef VRAM_SOURCE_LOADING_H
#define VRAM_SOURCE_LOADING_H

/* As dlopen(path, RTLD_NOW | RTLD_LOCAL). What it loads may fork. */
void *loading_open(const char *path);

#endif
