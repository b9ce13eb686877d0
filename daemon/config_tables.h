/* SPDX-License-Identifier: MIT */
/* What the sections of the configuration may say: a table for each. Read by config.c. */
#ifndef VRAM_DAEMON_CONFIG_TABLES_H
#define VRAM_DAEMON_CONFIG_TABLES_H

#include <stdbool.h>
#include <stddef.h>

enum config_section {
    SECTION_NONE,
    SECTION_DAEMON,
    SECTION_GPU,     /* GPU settings of struct config_gpu */
    SECTION_CEILING, /* struct config_ceiling */
    SECTION_USERS,   /* struct config_limits of everybody */
    SECTION_USER,    /* struct config_limits of struct config_user */
    SECTION_HOLDER,  /* which has no table: config_holders.c knows what it may say */
    SECTION_COUNT,
};

#define CONFIG_SETTINGS_MAX 20 /* in a section */

struct config_setting {
    const char *name;
    int (*read)(const char *value, void *to); /* 0, or it is none of what is allowed */
    size_t offset;                            /* in the section's structure */
    const char *allowed;
};

extern const struct config_table {
    const struct config_setting *settings;
    size_t count;
} config_tables[SECTION_COUNT];

/* Whether its value is for the shell, whose lines a comment of ours must not cut short. */
bool config_is_command(const struct config_setting *setting);

#endif
