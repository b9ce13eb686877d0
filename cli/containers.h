/* SPDX-License-Identifier: MIT */
/*
 * Commands that have another program start what they are told to: a container's processes are children of its
 * runtime's daemon, not of `docker run`, and so no descendants of who leases memory for them.
 */
#ifndef VRAM_CLI_CONTAINERS_H
#define VRAM_CLI_CONTAINERS_H

/* The container program that `command` (ending with NULL) runs, directly or through sudo: "docker"; NULL: none. */
const char *containers_program(const char *const *command);

#endif
