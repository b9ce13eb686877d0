/* SPDX-License-Identifier: MIT */
/* Texts of the daemon's configuration, "x.conf", and what is said of them. */
#ifndef VRAM_TESTS_CONFIG_RIG_H
#define VRAM_TESTS_CONFIG_RIG_H

#include "daemon/config.h"

/* As config_parse(), with an empty problem where there is none. */
int rig_parse(const char *text, struct config *ret_config, char problem[CONFIG_PROBLEM_MAX]);

/* It is no configuration: `problem` is in what is said of it, and the configuration stays as it was. */
void rig_refuses(const char *text, const char *problem);

#endif
