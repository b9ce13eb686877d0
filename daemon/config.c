/* SPDX-License-Identifier: MIT */
#include "daemon/config.h"
#include "daemon/config_tables.h"

#include "common/path.h"
#include "common/size.h"
#include "common/text.h"
#include "include/vram.h"
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHOWN_MAX 64 /* bytes of what is wrong that are quoted */
#define NS_PER_S UINT64_C(1000000000)
#define SECTIONS "[daemon], [gpu SEL], [ceiling NAME], [users], [user NAME] and [holder NAME]"
#define SECTIONS_OR "[daemon], [gpu SEL], [ceiling NAME], [users], [user NAME] or [holder NAME]"

/* A text on its way through the parser of INI files, which asks for its lines and hands on names and values. */
struct reading {
    const char *name, *at, *end;
    unsigned line;
    enum config_section section;
    char title[SHOWN_MAX]; /* of the section, for people: "gpu 0" */
    char *into;            /* its structure */
    unsigned begun;        /* its line */
    bool awaits_setting;   /* the line is neither empty nor a comment nor a section's */
    bool has_comment;      /* behind its value */
    /* The lines of its settings, in the order of their table; 0: not set. [daemon] can be taken up again. */
    unsigned set_at[CONFIG_SETTINGS_MAX], daemon_set_at[CONFIG_SETTINGS_MAX];
    unsigned users_at; /* the line of [users]; 0: it is not there */
    struct config config;
    int result;
    char *problem;
};

/* ---- Complaints ------------------------------------------------------------------------------ */

/* A text from outside, as it can be shown in a line. */
static const char *quote(const char *text, char shown[SHOWN_MAX])
{
    size_t length = text_copy(shown, SHOWN_MAX, text);
    for (size_t i = 0; i < length; i++) {
        if (shown[i] < ' ' || shown[i] > '~') {
            shown[i] = '?';
        }
    }
    return shown;
}

static int complain(struct reading *reading, const char *format, ...) PRINTF_LIKE(2, 3);

static int complain(struct reading *reading, const char *format, ...)
{
    va_list args;
    int length =
        snprintf(reading->problem, CONFIG_PROBLEM_MAX, "%.200s:%u: ", reading->name, reading->line);
    va_start(args, format);
    (void)vsnprintf(reading->problem + length, CONFIG_PROBLEM_MAX - (size_t)length, format, args);
    va_end(args);
    reading->result = -EINVAL;
    return -EINVAL;
}

static int complain_of_value(struct reading *reading, const char *name, const char *value,
                             const char *allowed)
{
    char shown[SHOWN_MAX];
    return complain(reading, "%s cannot be '%s': it is %s", name, quote(value, shown), allowed);
}

static int complain_of_name(struct reading *reading, const char *name)
{
    const struct config_table *table = &config_tables[reading->section];
    char shown[SHOWN_MAX], list[320] = "";
    size_t length = 0;
    for (size_t i = 0; i < table->count && length < sizeof(list); i++) {
        length += (size_t)snprintf(list + length, sizeof(list) - length, "%s%s", i ? ", " : "",
                                   table->settings[i].name);
    }
    return complain(reading, "[%s] has no setting '%s': it has %s", reading->title,
                    quote(name, shown), list);
}

/* The same GPU in two sections is one GPU with two margins. */
static int check_margin(struct reading *reading)
{
    struct config_gpu *gpu = (struct config_gpu *)(void *)reading->into;
    for (size_t i = 0; i < reading->config.gpu_count; i++) {
        const struct config_gpu *earlier = &reading->config.gpus[i];
        if (earlier->line && strcmp(earlier->selector, gpu->selector) == 0) {
            return complain(reading, "the margin of GPU %s is set in line %u already",
                            gpu->selector, earlier->line);
        }
    }
    gpu->line = reading->line;
    return 0;
}

static int set(struct reading *reading, const char *name, const char *value)
{
    const struct config_table *table = &config_tables[reading->section];
    bool is_daemon = reading->section == SECTION_DAEMON;
    unsigned *set_at = is_daemon ? reading->daemon_set_at : reading->set_at;
    size_t i = 0;
    while (i < table->count && strcmp(name, table->settings[i].name) != 0) {
        i++;
    }
    if (i == table->count) {
        return complain_of_name(reading, name);
    }
    if (reading->section == SECTION_GPU && check_margin(reading) < 0) {
        return -EINVAL;
    }
    if (set_at[i]) {
        return complain(reading, "%s is set in line %u already", name, set_at[i]);
    }
    set_at[i] = reading->line;
    if (reading->has_comment && config_is_command(&table->settings[i])) {
        return complain(reading, "a blank and ';' begin a comment, in which no part of a command "
                                 "can be: put it into a file");
    }
    if (table->settings[i].read(value, reading->into + table->settings[i].offset) < 0) {
        return complain_of_value(reading, name, value, table->settings[i].allowed);
    }
    return 0;
}

static int set_of_holder(struct reading *reading, const char *name, const char *value)
{
    char shown[SHOWN_MAX], why[HOLDER_WHY_MAX];
    struct config_holder *holder = &reading->config.holders[reading->config.holder_count - 1];
    if (config_holder_set(holder, name, value, quote(value, shown), why) < 0) {
        return complain(reading, "%s", why);
    }
    return 0;
}

/* The parser's: 1; 0: it is an error. */
static int take_setting(void *user, const char *section, const char *name, const char *value)
{
    struct reading *reading = user;
    char shown[SHOWN_MAX];
    (void)section;
    reading->awaits_setting = false;
    if (reading->section == SECTION_NONE) {
        (void)complain(reading, "'%s' stands before any section: " SECTIONS_OR, quote(name, shown));
        return 0;
    }
    return (reading->section == SECTION_HOLDER ? set_of_holder(reading, name, value)
                                               : set(reading, name, value)) == 0;
}

/* ---- Lines ----------------------------------------------------------------------------------- */

/* Room for one more. NULL: none, which was complained of. */
static void *make_room(struct reading *reading, void **array, size_t count, size_t size)
{
    void *grown = realloc(*array, (count + 1) * size);
    if (!grown) {
        (void)complain(reading, "there is no memory left");
        reading->result = -ENOMEM;
        return NULL;
    }
    *array = grown;
    return memset((char *)grown + count * size, 0, size);
}

static int add_gpu(struct reading *reading, const char *selector)
{
    char shown[SHOWN_MAX];
    struct config *config = &reading->config;
    if (strlen(selector) >= CONFIG_SELECTOR_MAX || !config_is_selector(selector)) {
        return complain(reading,
                        "'%s' is no GPU: name it by its index, its UUID or the beginning of it, or "
                        "its PCI address",
                        quote(selector, shown));
    }
    struct config_gpu *gpu =
        make_room(reading, (void **)(void *)&config->gpus, config->gpu_count, sizeof(*gpu));
    if (!gpu) {
        return -ENOMEM;
    }
    config->gpu_count++;
    (void)text_copy(gpu->selector, sizeof(gpu->selector), selector);
    reading->into = (char *)gpu;
    return 0;
}

/* A name for people, which lists and logs show. */
static bool is_plain_name(const char *name)
{
    for (const char *c = name; *c; c++) {
        if (*c <= ' ' || *c > '~') {
            return false;
        }
    }
    return name[0] && strlen(name) < CONFIG_NAME_MAX;
}

static int add_ceiling(struct reading *reading, const char *name)
{
    char shown[SHOWN_MAX];
    struct config *config = &reading->config;
    if (!is_plain_name(name)) {
        return complain(reading, "'%s' is no name: it is 1 to %d characters without blanks",
                        quote(name, shown), CONFIG_NAME_MAX - 1);
    }
    for (size_t i = 0; i < config->ceiling_count; i++) {
        if (strcmp(config->ceilings[i].name, name) == 0) {
            return complain(reading, "there is a ceiling %s in line %u already", name,
                            config->ceilings[i].line);
        }
    }
    if (config->ceiling_count == CONFIG_CEILINGS_MAX) {
        return complain(reading, "there are more than %d ceilings", CONFIG_CEILINGS_MAX);
    }
    struct config_ceiling *ceiling = make_room(reading, (void **)(void *)&config->ceilings,
                                               config->ceiling_count, sizeof(*ceiling));
    if (!ceiling) {
        return -ENOMEM;
    }
    config->ceiling_count++;
    ceiling->line = reading->line;
    (void)text_copy(ceiling->name, sizeof(ceiling->name), name);
    reading->into = (char *)ceiling;
    return 0;
}

static const struct config_limits no_limits = {UINT64_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX};

static int add_user(struct reading *reading, const char *name)
{
    char shown[SHOWN_MAX];
    struct config *config = &reading->config;
    if (!is_plain_name(name)) {
        return complain(reading, "'%s' is no user: it is a name or a number", quote(name, shown));
    }
    for (size_t i = 0; i < config->user_count; i++) {
        if (strcmp(config->users[i].name, name) == 0) {
            return complain(reading, "user %s has limits in line %u already", name,
                            config->users[i].line);
        }
    }
    struct config_user *user =
        make_room(reading, (void **)(void *)&config->users, config->user_count, sizeof(*user));
    if (!user) {
        return -ENOMEM;
    }
    config->user_count++;
    user->line = reading->line;
    user->limits = no_limits;
    (void)text_copy(user->name, sizeof(user->name), name);
    reading->into = (char *)&user->limits;
    return 0;
}

static int enter_users(struct reading *reading)
{
    if (reading->users_at) {
        return complain(reading, "there is [users] in line %u already", reading->users_at);
    }
    reading->users_at = reading->line;
    reading->into = (char *)&reading->config.limits;
    return 0;
}

/* Whether the section that ends here says all that it must. */
static int leave_section(struct reading *reading)
{
    if (reading->section == SECTION_CEILING && (!reading->set_at[0] || !reading->set_at[1])) {
        reading->line = reading->begun;
        return complain(reading,
                        "[%s] has no %s: a ceiling needs match = unit:NAME (or another) "
                        "and size = N",
                        reading->title, reading->set_at[0] ? "size" : "match");
    }
    return 0;
}

/* The section of this name, "daemon" or "gpu 0". *ret_rest: what stands behind its first word. */
static enum config_section find_section(const char *name, const char **ret_rest)
{
    static const char *const kinds[SECTION_COUNT] = {
        [SECTION_GPU] = "gpu ",
        [SECTION_CEILING] = "ceiling ",
        [SECTION_USER] = "user ",
        [SECTION_HOLDER] = "holder ",
    };
    *ret_rest = "";
    for (int i = 0; i < SECTION_COUNT; i++) {
        size_t length = kinds[i] ? strlen(kinds[i]) : 0;
        if (length && strncmp(name, kinds[i], length) == 0) {
            *ret_rest = name + length + strspn(name + length, " \t");
            return (enum config_section)i;
        }
    }
    return strcmp(name, "daemon") == 0  ? SECTION_DAEMON
           : strcmp(name, "users") == 0 ? SECTION_USERS
                                        : SECTION_NONE;
}

static int add_holder(struct reading *reading, const char *name)
{
    char why[HOLDER_WHY_MAX];
    struct config *config = &reading->config;
    int r = config_holder_begin(&config->holders, &config->holder_count, name, reading->line, why);
    if (r < 0) {
        (void)complain(reading, "%s", r == -ENOMEM ? "there is no memory left" : why);
        reading->result = r;
        return r;
    }
    return 0;
}

/* "[NAME]" and nothing but a comment behind it. */
static int enter_section(struct reading *reading, const char *line)
{
    char name[SHOWN_MAX], shown[SHOWN_MAX];
    const char *close = strchr(line, ']');
    const char *rest = close ? close + 1 + strspn(close + 1, " \t\n") : "";
    if (!close || (*rest && *rest != ';' && *rest != '#')) {
        return complain(reading, "'%s' is no section: " SECTIONS_OR, quote(line, shown));
    }
    (void)text_copy_n(name, sizeof(name), line + 1, (size_t)(close - line - 1));
    enum config_section section = find_section(name, &rest);
    if (section == SECTION_NONE) {
        return complain(reading, "there is no section [%s]: there are " SECTIONS,
                        quote(name, shown));
    }
    if (leave_section(reading) < 0) {
        return -EINVAL;
    }
    reading->section = section;
    reading->begun = reading->line;
    reading->into = (char *)&reading->config;
    memset(reading->set_at, 0, sizeof(reading->set_at));
    (void)quote(name, reading->title);
    return section == SECTION_GPU       ? add_gpu(reading, rest)
           : section == SECTION_CEILING ? add_ceiling(reading, rest)
           : section == SECTION_USER    ? add_user(reading, rest)
           : section == SECTION_USERS   ? enter_users(reading)
           : section == SECTION_HOLDER  ? add_holder(reading, rest)
                                        : 0;
}

/* The next line without the white space at both ends. Its length, which moves on to the line behind it. */
static size_t take_line(struct reading *reading, const char **ret_line)
{
    const char *line = reading->at;
    const char *newline = memchr(line, '\n', (size_t)(reading->end - line));
    const char *end = newline ? newline : reading->end;
    reading->at = newline ? newline + 1 : end;
    reading->line++;
    while (line < end && strchr(" \t\r", *line) && *line) {
        line++;
    }
    while (end > line && strchr(" \t\r", end[-1]) && end[-1]) {
        end--;
    }
    *ret_line = line;
    return (size_t)(end - line);
}

/*
 * The parser's: the next line, or NULL at the end or where something is wrong. Lines come to it without white space in
 * front, which it would take for the continuation of the line before.
 */
static char *give_line(char *to, int size, void *stream)
{
    struct reading *reading = stream;
    const char *line;
    if (reading->result == 0 && reading->awaits_setting) {
        (void)complain(reading, "this is no section, no setting (NAME = VALUE) and no comment");
    }
    if (reading->result < 0 || reading->at == reading->end) {
        return NULL;
    }
    size_t length = take_line(reading, &line);
    if (length + 2 > (size_t)size) {
        (void)complain(reading, "the line is longer than %d bytes", size - 2);
        return NULL;
    }
    if (memchr(line, '\0', length)) {
        (void)complain(reading, "the line has a NUL byte in it");
        return NULL;
    }
    memcpy(to, line, length);
    to[length] = '\n';
    to[length + 1] = '\0';
    if (to[0] == '[') {
        return enter_section(reading, to) < 0 ? NULL : to;
    }
    reading->awaits_setting = length && to[0] != ';' && to[0] != '#';
    reading->has_comment = strstr(to, " ;") || strstr(to, "\t;");
    return to;
}

/* ---- All of it ------------------------------------------------------------------------------- */

void config_init(struct config *config)
{
    *config = (struct config){
        .margin = {.bytes = VRAM_DEFAULT_MARGIN_BYTES},
        .lease_group = "vram",
        .container_user_label = "vram.user",
        .max_waiters = 4096,
        .max_leases = 4096,
        .linger_ns = 60 * NS_PER_S,
        .history_max_bytes = 64 * MIB,
        .on_event_timeout_ns = 10 * NS_PER_S,
        .idle_notice_ns = 300 * NS_PER_S,
        .limits = no_limits,
    };
}

void config_done(struct config *config)
{
    free(config->gpus);
    free(config->ceilings);
    free(config->users);
    config->gpus = NULL;
    config->ceilings = NULL;
    config->users = NULL;
    free(config->holders);
    config->holders = NULL;
    config->gpu_count = config->ceiling_count = config->user_count = config->holder_count = 0;
}

/* What can be said of a section only when it is whole. */
static void check_holders(struct reading *reading)
{
    char why[HOLDER_WHY_MAX];
    for (size_t i = 0; reading->result == 0 && i < reading->config.holder_count; i++) {
        const struct config_holder *holder = &reading->config.holders[i];
        if (config_holder_check(holder, why) < 0) {
            reading->line = holder->line;
            (void)complain(reading, "%s", why);
        }
    }
}

int config_parse(const char *name, const char *text, size_t length, struct config *ret_config,
                 char problem[CONFIG_PROBLEM_MAX])
{
    static const char mark[] = "\xEF\xBB\xBF"; /* that some editors put in front of UTF-8 */
    bool marked = length >= 3 && memcmp(text, mark, 3) == 0;
    struct reading reading = {
        .name = name, .at = text + (marked ? 3 : 0), .end = text + length, .problem = problem};
    config_init(&reading.config);
    if (ini_parse_stream(give_line, &reading, take_setting, &reading) != 0 && reading.result == 0) {
        (void)complain(&reading, "the line cannot be read");
    }
    if (reading.result == 0) {
        (void)leave_section(&reading);
    }
    check_holders(&reading);
    if (reading.result < 0) {
        config_done(&reading.config);
        return reading.result;
    }
    *ret_config = reading.config;
    return 0;
}

/* A whole file: never one that would make the daemon wait. */
static int read_file(const char *path, char *text, size_t size)
{
    struct stat st;
    int fd = path_open("", path, O_RDONLY | O_NONBLOCK);
    if (fd < 0) {
        return fd;
    }
    if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode)) {
        (void)close(fd);
        return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    }
    return path_read_fd(fd, text, size);
}

int config_load(const char *path, struct config *ret_config, char problem[CONFIG_PROBLEM_MAX])
{
    const char *name = path ? path : CONFIG_PATH;
    const size_t size = CONFIG_BYTES_MAX + 2; /* one more than may be in it, and a NUL */
    char *text = malloc(size);
    int r = text ? read_file(name, text, size) : -ENOMEM;
    if (r > CONFIG_BYTES_MAX) {
        r = -EFBIG;
    }
    if (r == -ENOENT && !path) {
        config_init(ret_config);
        r = 0;
    } else if (r < 0) {
        (void)snprintf(problem, CONFIG_PROBLEM_MAX, "the configuration %.200s cannot be read: %s",
                       name, strerror(-r));
    } else {
        r = config_parse(name, text, (size_t)r, ret_config, problem);
    }
    free(text);
    return r;
}

/* ---- Users ----------------------------------------------------------------------------------- */

static uint32_t said(uint32_t own, uint32_t others)
{
    return own == UINT32_MAX ? others : own;
}

struct config_limits config_limits_for(const struct config *config, uint32_t uid, const char *name)
{
    struct config_limits limits = uid == 0 ? no_limits : config->limits;
    char number[16];
    (void)snprintf(number, sizeof(number), "%u", (unsigned)uid);
    for (size_t i = 0; i < config->user_count; i++) {
        const struct config_user *user = &config->users[i];
        if (strcmp(user->name, name) == 0 || strcmp(user->name, number) == 0) {
            const struct config_limits *own = &user->limits;
            return (struct config_limits){
                .bytes = own->bytes == UINT64_MAX ? limits.bytes : own->bytes,
                .gpus = said(own->gpus, limits.gpus),
                .leases = said(own->leases, limits.leases),
                .waiters = said(own->waiters, limits.waiters),
            };
        }
    }
    return limits;
}

/* ---- Margins --------------------------------------------------------------------------------- */

struct config_margin config_margin_for(const struct config *config, uint64_t index,
                                       const char *uuid, const char *pci)
{
    for (size_t i = config->gpu_count; i > 0; i--) {
        const struct config_gpu *gpu = &config->gpus[i - 1];
        if (gpu->line && config_means(gpu->selector, index, uuid, pci)) {
            return gpu->margin;
        }
    }
    return config->margin;
}

uint64_t config_margin_bytes(struct config_margin margin, uint64_t total_bytes)
{
    if (!margin.millipercent) {
        return margin.bytes;
    }
    return total_bytes == VRAM_UNKNOWN ? VRAM_UNKNOWN : margin_of(total_bytes, margin.millipercent);
}
