/* SPDX-License-Identifier: MIT */
#include "daemon/config_tables.h"

#include "common/gpu_name.h"
#include "common/size.h"
#include "common/text.h"
#include "daemon/config.h"
#include "daemon/history_events.h"
#include <errno.h>
#include <string.h>

#define NUMBER_MAX 65536
#define NS_PER_S UINT64_C(1000000000)

/* ---- Values ---------------------------------------------------------------------------------- */

static int read_margin(const char *value, void *to)
{
    struct config_margin *margin = to;
    return margin_parse(value, &margin->bytes, &margin->millipercent);
}

static int read_group(const char *value, void *to)
{
    if (strlen(value) >= CONFIG_GROUP_MAX || value[0] == '-' || value[strcspn(value, " \t:,/")]) {
        return -EINVAL;
    }
    (void)text_copy(to, CONFIG_GROUP_MAX, value);
    return 0;
}

static int read_number(const char *value, void *to)
{
    uint32_t number = 0;
    for (const char *at = value; *at; at++) {
        if (*at < '0' || *at > '9' || number > NUMBER_MAX) {
            return -EINVAL;
        }
        number = number * 10 + (uint32_t)(*at - '0');
    }
    if (number < 1 || number > NUMBER_MAX) {
        return -ERANGE;
    }
    *(uint32_t *)to = number;
    return 0;
}

static int read_duration(const char *value, void *to)
{
    return duration_parse(value, to);
}

static int read_listen(const char *value, void *to)
{
    struct gate_address address;
    if (value[0] && (strlen(value) >= GATE_TEXT_MAX || gate_parse_address(value, &address) < 0)) {
        return -EINVAL;
    }
    (void)text_copy(to, GATE_TEXT_MAX, value);
    return 0;
}

static int read_path(const char *value, void *to)
{
    if (strlen(value) >= CONFIG_PATH_MAX || (value[0] && value[0] != '/')) {
        return -EINVAL;
    }
    (void)text_copy(to, CONFIG_PATH_MAX, value);
    return 0;
}

static int read_hosts(const char *value, void *to)
{
    if (strlen(value) >= CONFIG_HOSTS_MAX || !gate_are_hosts(value)) {
        return -EINVAL;
    }
    (void)text_copy(to, CONFIG_HOSTS_MAX, value);
    return 0;
}

/* A label's name, as container engines allow them. */
static int read_label(const char *value, void *to)
{
    if (strlen(value) >= CONFIG_LABEL_MAX) {
        return -EINVAL;
    }
    for (const char *c = value; *c; c++) {
        if (*c <= ' ' || *c > '~') {
            return -EINVAL;
        }
    }
    (void)text_copy(to, CONFIG_LABEL_MAX, value);
    return 0;
}

static int read_history(const char *value, void *to)
{
    static const char *const words[] = {
        [CONFIG_HISTORY_AUTO] = "auto", [CONFIG_HISTORY_ON] = "on", [CONFIG_HISTORY_OFF] = "off"};
    for (uint32_t i = 0; i < ARRAY_LENGTH(words); i++) {
        if (strcmp(value, words[i]) == 0) {
            *(uint32_t *)to = i;
            return 0;
        }
    }
    return -EINVAL;
}

static int read_command(const char *value, void *to)
{
    return text_copy(to, CONFIG_COMMAND_MAX, value) < CONFIG_COMMAND_MAX ? 0 : -EINVAL;
}

static int read_kinds(const char *value, void *to)
{
    return history_kinds_parse(value, to);
}

/* Long enough for a shell to start, and no longer than what waits behind it bears. */
static int read_timeout(const char *value, void *to)
{
    uint64_t ns;
    int r = duration_parse(value, &ns);
    if (r < 0 || ns < NS_PER_S / 10 || ns > 3600 * NS_PER_S) {
        return -EINVAL;
    }
    *(uint64_t *)to = ns;
    return 0;
}

/* From what a file needs at least to what can be bounded at all. */
static int read_file_size(const char *value, void *to)
{
    uint64_t bytes;
    int r = size_parse(value, &bytes, NULL);
    if (r < 0 || bytes < MIB || bytes > 1024 * GIB) {
        return -EINVAL;
    }
    *(uint64_t *)to = bytes;
    return 0;
}

static int read_size(const char *value, void *to)
{
    uint64_t bytes;
    int r = size_parse(value, &bytes, NULL);
    if (r == 0 && bytes > CONFIG_SIZE_MAX) {
        return -ERANGE;
    }
    if (r == 0) {
        *(uint64_t *)to = bytes;
    }
    return r;
}

static int read_match(const char *value, void *to)
{
    return match_parse(value, to);
}

/* Selectors with blanks between them. */
static int read_gpus(const char *value, void *to)
{
    char selector[CONFIG_SELECTOR_MAX];
    if (!value[0] || strlen(value) >= CONFIG_GPUS_MAX) {
        return -EINVAL;
    }
    for (const char *rest = value; config_next_selector(&rest, selector);) {
        if (!config_is_selector(selector)) {
            return -EINVAL;
        }
    }
    (void)text_copy(to, CONFIG_GPUS_MAX, value);
    return 0;
}

/* ---- Tables ---------------------------------------------------------------------------------- */

#define MARGINS "a size such as 1024M, or a part such as 5%"
#define GROUPS "a group's name, or nothing"
#define NUMBERS "a number from 1 to 65536"

static const struct config_setting of_daemon[] = {
    {"margin", read_margin, offsetof(struct config, margin), MARGINS},
    {"lease_group", read_group, offsetof(struct config, lease_group), GROUPS},
    {"admin_group", read_group, offsetof(struct config, admin_group), GROUPS},
    {"max_waiters", read_number, offsetof(struct config, max_waiters), NUMBERS},
    {"max_leases", read_number, offsetof(struct config, max_leases), NUMBERS},
    {"linger", read_duration, offsetof(struct config, linger_ns),
     "a duration such as 60s, 5m or 1h"},
    {"idle_after", read_duration, offsetof(struct config, idle_after_ns),
     "a duration such as 30m, or 0"},
    {"idle_notice", read_duration, offsetof(struct config, idle_notice_ns),
     "a duration such as 5m"},
    {"listen", read_listen, offsetof(struct config, listen),
     "an address and a port such as 127.0.0.1:9464, or nothing"},
    {"token_file", read_path, offsetof(struct config, token_file), "an absolute path, or nothing"},
    {"public_host", read_hosts, offsetof(struct config, public_host),
     "names of this machine with blanks between them"},
    {"history", read_history, offsetof(struct config, history), "on, off or auto"},
    {"history_max", read_file_size, offsetof(struct config, history_max_bytes),
     "a size from 1M to 1T"},
    {"on_event", read_command, offsetof(struct config, on_event), "a command, or nothing"},
    {"on_event_kinds", read_kinds, offsetof(struct config, on_event_kinds),
     "a list with commas of kinds of events such as nearly_full,gpu_lost, or nothing"},
    {"on_event_timeout", read_timeout, offsetof(struct config, on_event_timeout_ns),
     "a duration from 100ms to 1h"},
    {"container_user_label", read_label, offsetof(struct config, container_user_label),
     "a label's name such as vram.user, or nothing"},
};

static const struct config_setting of_gpu[] = {
    {"margin", read_margin, offsetof(struct config_gpu, margin), MARGINS},
};

static const struct config_setting of_ceiling[] = {
    {"match", read_match, offsetof(struct config_ceiling, match),
     "unit:NAME, container:ID, user:NAME, name:NAME or command:TEXT"},
    {"size", read_size, offsetof(struct config_ceiling, size_bytes), "a size such as 18G"},
    {"gpu", read_gpus, offsetof(struct config_ceiling, gpus),
     "one or more GPUs with blanks between them, each an index, a UUID or the beginning of it, or "
     "a PCI address"},
};

static const struct config_setting of_user[] = {
    {"memory", read_size, offsetof(struct config_limits, bytes), "a size such as 48G"},
    {"gpus", read_number, offsetof(struct config_limits, gpus), NUMBERS},
    {"leases", read_number, offsetof(struct config_limits, leases), NUMBERS},
    {"waiters", read_number, offsetof(struct config_limits, waiters), NUMBERS},
};

#define TABLE(settings)                                                                            \
    {                                                                                              \
        (settings), ARRAY_LENGTH(settings)                                                         \
    }

const struct config_table config_tables[SECTION_COUNT] = {
    [SECTION_DAEMON] = TABLE(of_daemon),   [SECTION_GPU] = TABLE(of_gpu),
    [SECTION_CEILING] = TABLE(of_ceiling), [SECTION_USERS] = TABLE(of_user),
    [SECTION_USER] = TABLE(of_user),
};

_Static_assert(ARRAY_LENGTH(of_daemon) <= CONFIG_SETTINGS_MAX &&
                   ARRAY_LENGTH(of_ceiling) <= CONFIG_SETTINGS_MAX,
               "every setting has a line");

bool config_is_command(const struct config_setting *setting)
{
    return setting->read == read_command;
}
