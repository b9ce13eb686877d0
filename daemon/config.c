/* SPDX-License-Identifier: MIT */
#include "daemon/config.h"

#include "common/gpu_name.h"
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

#define SECTIONS "[daemon], [gpu SEL] or [holder NAME]"
#define SHOWN_MAX 64 /* bytes of what is wrong that are quoted */
#define NUMBER_MAX 65536

enum section {
    SECTION_NONE,
    SECTION_DAEMON,
    SECTION_GPU,
    SECTION_HOLDER,
};

/* A text on its way through the parser of INI files, which asks for its lines and hands on names and values. */
struct reading {
    const char *name, *at, *end;
    unsigned line;
    enum section section;
    bool awaits_setting; /* the line is neither empty nor a comment nor a section's */
    unsigned
        set_at[16]; /* the lines of [daemon]'s settings, in the order of their table; 0: not set */
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

#define MARGINS "a size such as 1024M, or a part such as 5%"
#define GROUPS "a group's name, or nothing"
#define NUMBERS "a number from 1 to 65536"

/* What [daemon] may say. */
static const struct setting {
    const char *name;
    int (*read)(const char *value, void *to);
    size_t offset; /* in struct config */
    const char *allowed;
} settings[] = {
    {"margin", read_margin, offsetof(struct config, margin), MARGINS},
    {"lease_group", read_group, offsetof(struct config, lease_group), GROUPS},
    {"admin_group", read_group, offsetof(struct config, admin_group), GROUPS},
    {"max_waiters", read_number, offsetof(struct config, max_waiters), NUMBERS},
    {"max_leases", read_number, offsetof(struct config, max_leases), NUMBERS},
    {"linger", read_duration, offsetof(struct config, linger_ns),
     "a duration such as 60s, 5m or 1h"},
    {"listen", read_listen, offsetof(struct config, listen),
     "an address and a port such as 127.0.0.1:9464, or nothing"},
    {"token_file", read_path, offsetof(struct config, token_file), "an absolute path, or nothing"},
    {"public_host", read_hosts, offsetof(struct config, public_host),
     "names of this machine with blanks between them"},
    {"history", read_history, offsetof(struct config, history), "on, off or auto"},
    {"history_max", read_file_size, offsetof(struct config, history_max_bytes),
     "a size from 1M to 1T"},
};

_Static_assert(ARRAY_LENGTH(settings) <= ARRAY_LENGTH(((struct reading *)0)->set_at),
               "every setting has a line");

static int complain_of_value(struct reading *reading, const char *name, const char *value,
                             const char *allowed)
{
    char shown[SHOWN_MAX];
    return complain(reading, "%s cannot be '%s': it is %s", name, quote(value, shown), allowed);
}

static int set_of_daemon(struct reading *reading, const char *name, const char *value)
{
    char shown[SHOWN_MAX], list[160] = "";
    size_t length = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(settings); i++) {
        const struct setting *setting = &settings[i];
        length += (size_t)snprintf(list + length, sizeof(list) - length, "%s%s", i ? ", " : "",
                                   setting->name);
        if (strcmp(name, setting->name) != 0) {
            continue;
        }
        if (reading->set_at[i]) {
            return complain(reading, "%s is set in line %u already", name, reading->set_at[i]);
        }
        reading->set_at[i] = reading->line;
        if (setting->read(value, (char *)&reading->config + setting->offset) < 0) {
            return complain_of_value(reading, name, value, setting->allowed);
        }
        return 0;
    }
    return complain(reading, "[daemon] has no setting '%s': it has %s", quote(name, shown), list);
}

static int set_of_gpu(struct reading *reading, const char *name, const char *value)
{
    char shown[SHOWN_MAX];
    struct config_gpu *gpu = &reading->config.gpus[reading->config.gpu_count - 1];
    if (strcmp(name, "margin") != 0) {
        return complain(reading, "[gpu %s] has no setting '%s': it has margin", gpu->selector,
                        quote(name, shown));
    }
    for (size_t i = 0; i < reading->config.gpu_count; i++) {
        const struct config_gpu *earlier = &reading->config.gpus[i];
        if (earlier->line && strcmp(earlier->selector, gpu->selector) == 0) {
            return complain(reading, "the margin of GPU %s is set in line %u already",
                            gpu->selector, earlier->line);
        }
    }
    gpu->line = reading->line;
    if (read_margin(value, &gpu->margin) < 0) {
        return complain_of_value(reading, name, value, MARGINS);
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
    switch (reading->section) {
    case SECTION_DAEMON:
        return set_of_daemon(reading, name, value) == 0;
    case SECTION_GPU:
        return set_of_gpu(reading, name, value) == 0;
    case SECTION_HOLDER:
        return set_of_holder(reading, name, value) == 0;
    default:
        (void)complain(reading, "'%s' stands before any section: " SECTIONS, quote(name, shown));
        return 0;
    }
}

/* ---- Lines ----------------------------------------------------------------------------------- */

static int add_gpu(struct reading *reading, const char *selector)
{
    char shown[SHOWN_MAX];
    unsigned address[4];
    struct config *config = &reading->config;
    size_t length = strlen(selector);
    bool known = length > 0 && length < CONFIG_SELECTOR_MAX &&
                 (gpu_name_is_number(selector, length) || gpu_name_parse_pci(selector, address) ||
                  gpu_name_is_uuid_like(selector));
    if (!known) {
        return complain(reading,
                        "'%s' is no GPU: name it by its index, its UUID or the beginning of it, or "
                        "its PCI address",
                        quote(selector, shown));
    }
    struct config_gpu *gpus =
        realloc(config->gpus, (config->gpu_count + 1) * sizeof(*config->gpus));
    if (!gpus) {
        (void)complain(reading, "there is no memory left");
        reading->result = -ENOMEM;
        return -ENOMEM;
    }
    config->gpus = gpus;
    struct config_gpu *gpu = &gpus[config->gpu_count++];
    memset(gpu, 0, sizeof(*gpu));
    (void)text_copy(gpu->selector, sizeof(gpu->selector), selector);
    reading->section = SECTION_GPU;
    return 0;
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
    reading->section = SECTION_HOLDER;
    return 0;
}

/* "[NAME]" and nothing but a comment behind it. */
static int enter_section(struct reading *reading, const char *line)
{
    char name[SHOWN_MAX], shown[SHOWN_MAX];
    const char *close = strchr(line, ']');
    const char *rest = close ? close + 1 + strspn(close + 1, " \t\n") : "";
    if (!close || (*rest && *rest != ';' && *rest != '#')) {
        return complain(reading, "'%s' is no section: " SECTIONS, quote(line, shown));
    }
    (void)text_copy_n(name, sizeof(name), line + 1, (size_t)(close - line - 1));
    if (strcmp(name, "daemon") == 0) {
        reading->section = SECTION_DAEMON;
        return 0;
    }
    if (strncmp(name, "gpu ", 4) == 0) {
        return add_gpu(reading, name + 4 + strspn(name + 4, " \t"));
    }
    if (strncmp(name, "holder ", 7) == 0) {
        return add_holder(reading, name + 7 + strspn(name + 7, " \t"));
    }
    return complain(reading, "there is no section [%s]: it is " SECTIONS, quote(name, shown));
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
    return to;
}

/* ---- All of it ------------------------------------------------------------------------------- */

void config_init(struct config *config)
{
    *config = (struct config){
        .margin = {.bytes = VRAM_DEFAULT_MARGIN_BYTES},
        .lease_group = "vram",
        .max_waiters = 4096,
        .max_leases = 4096,
        .linger_ns = 60 * UINT64_C(1000000000),
        .history_max_bytes = 64 * MIB,
    };
}

void config_done(struct config *config)
{
    free(config->gpus);
    config->gpus = NULL;
    config->gpu_count = 0;
    free(config->holders);
    config->holders = NULL;
    config->holder_count = 0;
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

/* ---- Margins --------------------------------------------------------------------------------- */

static bool means(const char *selector, uint64_t index, const char *uuid, const char *pci)
{
    unsigned wanted[4], address[4];
    size_t length = strlen(selector);
    if (gpu_name_is_number(selector, length)) {
        return strtoul(selector, NULL, 10) == index;
    }
    if (gpu_name_parse_pci(selector, wanted)) {
        return pci && gpu_name_parse_pci(pci, address) &&
               memcmp(address, wanted, sizeof(address)) == 0;
    }
    return gpu_name_begins_uuid(selector, length, uuid);
}

struct config_margin config_margin_for(const struct config *config, uint64_t index,
                                       const char *uuid, const char *pci)
{
    for (size_t i = config->gpu_count; i > 0; i--) {
        const struct config_gpu *gpu = &config->gpus[i - 1];
        if (gpu->line && means(gpu->selector, index, uuid, pci)) {
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
