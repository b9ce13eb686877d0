/* SPDX-License-Identifier: MIT */
/*
 * Sizes, margins, durations and counts from the command line. A text that is none is a usage error
 * that names it. All return an exit status, 0 to go on.
 */
#ifndef VRAM_CLI_VALUES_H
#define VRAM_CLI_VALUES_H

#include "cli/cli.h"

/* A bare number that is small for MiB gets a note, for it may have been meant as GiB. */
MUST_CHECK int values_size(struct cli *cli, const char *text, uint64_t *ret_bytes);

/* --margin, into both margins of a request; without the option they stay as they are. */
MUST_CHECK int values_margin(struct cli *cli, struct vram_fit_request *request);

/* The duration of the option `name`; without it *ret_ns stays as it is. */
MUST_CHECK int values_duration(struct cli *cli, const char *name, uint64_t *ret_ns);

/* The whole number from 1 on of the option `name`; without it *ret_count stays as it is. */
MUST_CHECK int values_count(struct cli *cli, const char *name, uint32_t *ret_count);

#endif
