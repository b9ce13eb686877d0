/* SPDX-License-Identifier: MIT */
#include "daemon/config_holders.h"

#include "common/size.h"
#include "common/text.h"
#include "daemon/match.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_NS UINT64_C(1000000000)
#define LONGEST_NS (3600 * SECOND_NS)
#define COST_MOST 1000

enum setting {
    SET_MATCH,
    SET_ASK,
    SET_BODY,
    SET_BUSY,
    SET_IDLE,
    SET_TIMEOUT,
    SET_AGAIN_AFTER,
    SET_COST,
    SETTINGS,
};

static const char *const names[SETTINGS] = {"match", "ask",     "body",        "busy",
                                            "idle",  "timeout", "again_after", "cost"};

static const struct {
    const char *word;
    bool has_url;
} asks[] = {
    [HOLDER_ASK_OLLAMA] = {"ollama", true},
    [HOLDER_ASK_COMFYUI] = {"comfyui", true},
    [HOLDER_ASK_LLAMA_SWAP] = {"llama-swap", true},
    [HOLDER_ASK_LLAMA_SERVER] = {"llama-server", true},
    [HOLDER_ASK_VLLM] = {"vllm", true},
    [HOLDER_ASK_POST] = {"POST", true},
    [HOLDER_ASK_GET] = {"GET", true},
    [HOLDER_ASK_COMMAND] = {"command", false},
};

const char *config_holder_ask_name(uint32_t ask)
{
    return ask > HOLDER_ASK_NONE && ask < ARRAY_LENGTH(asks) ? asks[ask].word : "";
}

bool config_holder_word(const char **text, char *word, size_t size)
{
    *text += strspn(*text, " \t");
    size_t length = strcspn(*text, " \t");
    (void)text_copy_n(word, size, *text, length);
    *text += length;
    return length > 0;
}

/* ---- Values ---------------------------------------------------------------------------------- */

static int copy(const char *value, char *to)
{
    return text_copy(to, HOLDER_TEXT_MAX, value) == strlen(value) && value[0] ? 0 : -EINVAL;
}

static int read_match(const char *value, struct config_holder *holder)
{
    struct match match;
    char word[HOLDER_TEXT_MAX];
    const char *rest = value;
    if (copy(value, holder->match) < 0) {
        return -EINVAL;
    }
    while (config_holder_word(&rest, word, sizeof(word))) {
        if (match_parse(word, &match) < 0) {
            return -EINVAL;
        }
    }
    return 0;
}

/* "127.0.0.1", "[::1]", "localhost", with a port behind. Returns what follows; NULL: it is none. */
static const char *read_address(const char *text, struct config_url *url)
{
    struct in6_addr address;
    bool bracket = text[0] == '[';
    size_t length = bracket ? strcspn(text + 1, "]") : strcspn(text, ":/");
    char host[HOLDER_HOST_MAX];
    if (length == 0 || length >= sizeof(host)) {
        return NULL;
    }
    (void)text_copy_n(host, sizeof(host), text + bracket, length);
    if (!bracket && strcmp(host, "localhost") == 0) {
        (void)text_copy(host, sizeof(host), "127.0.0.1");
    }
    if (inet_pton(bracket ? AF_INET6 : AF_INET, host, &address) != 1) {
        return NULL;
    }
    (void)text_copy(url->host, sizeof(url->host), host);
    text += length + (bracket ? (size_t)(text[length + 1] == ']') + 1 : 0);
    url->port = 80;
    if (*text == ':') {
        char *end;
        unsigned long port = strtoul(text + 1, &end, 10);
        if (text[1] < '0' || text[1] > '9' || port < 1 || port > UINT16_MAX) {
            return NULL;
        }
        url->port = (uint16_t)port;
        text = end;
    }
    return text;
}

static int read_url(const char *text, struct config_url *url)
{
    static const char scheme[] = "http://";
    if (strncmp(text, scheme, sizeof(scheme) - 1) != 0) {
        return -EINVAL;
    }
    const char *path = read_address(text + sizeof(scheme) - 1, url);
    if (!path || (*path && *path != '/') || strlen(path) >= sizeof(url->path)) {
        return -EINVAL;
    }
    for (const char *at = path; *at; at++) {
        if (*at <= ' ' || *at > '~' || *at == '#') {
            return -EINVAL;
        }
    }
    (void)text_copy(url->path, sizeof(url->path), path);
    return 0;
}

/* An absolute path and its arguments; no shell reads them. */
static int read_command(const char *text, char *to)
{
    char word[HOLDER_TEXT_MAX];
    const char *rest = text;
    size_t count = 0;
    while (config_holder_word(&rest, word, sizeof(word))) {
        count++;
    }
    return text[0] == '/' && count <= HOLDER_WORDS_MAX ? copy(text, to) : -EINVAL;
}

static int read_ask(const char *value, struct config_holder *holder)
{
    char word[32];
    const char *rest = value;
    (void)config_holder_word(&rest, word, sizeof(word));
    rest += strspn(rest, " \t");
    for (uint32_t i = HOLDER_ASK_NONE + 1; i < ARRAY_LENGTH(asks); i++) {
        if (strcmp(word, asks[i].word) == 0) {
            holder->ask = i;
            return asks[i].has_url ? read_url(rest, &holder->url)
                                   : read_command(rest, holder->command);
        }
    }
    return -EINVAL;
}

/* "gpu", "gpu 10%", "never", "command /PATH …" */
static int read_busy(const char *value, struct config_holder *holder)
{
    char word[32];
    const char *rest = value;
    (void)config_holder_word(&rest, word, sizeof(word));
    rest += strspn(rest, " \t");
    if (strcmp(word, "command") == 0) {
        holder->busy = HOLDER_BUSY_COMMAND;
        return read_command(rest, holder->busy_command);
    }
    if (strcmp(word, "gpu") == 0) {
        char *end = NULL;
        holder->busy = HOLDER_BUSY_GPU;
        if (!*rest) {
            return 0;
        }
        unsigned long percent = *rest >= '0' && *rest <= '9' ? strtoul(rest, &end, 10) : 0;
        holder->busy_percent = (uint32_t)percent;
        return percent >= 1 && percent <= 100 && strcmp(end, "%") == 0 ? 0 : -EINVAL;
    }
    holder->busy = HOLDER_BUSY_NEVER;
    return strcmp(word, "never") == 0 && !*rest ? 0 : -EINVAL;
}

static int read_duration(const char *value, uint64_t least_ns, uint64_t *to)
{
    uint64_t ns;
    if (duration_parse(value, &ns) < 0 || ns < least_ns || ns > LONGEST_NS) {
        return -EINVAL;
    }
    *to = ns;
    return 0;
}

static int read_cost(const char *value, struct config_holder *holder)
{
    char *end;
    unsigned long cost = value[0] >= '0' && value[0] <= '9' ? strtoul(value, &end, 10) : 0;
    if (cost < 1 || cost > COST_MOST || *end) {
        return -EINVAL;
    }
    holder->cost = (uint32_t)cost;
    return 0;
}

/* *ret_allowed: what it could have been. */
static int read_value(struct config_holder *holder, enum setting setting, const char *value,
                      const char **ret_allowed)
{
    static const char *const allowed[SETTINGS] = {
        [SET_MATCH] = "unit:NAME, container:ID, name:NAME, command:TEXT or user:NAME, or several "
                      "with blanks between",
        [SET_ASK] = "ollama, comfyui, llama-swap, llama-server, vllm, POST or GET and "
                    "http://ADDRESS:PORT, or command and an absolute path",
        [SET_BODY] = "a text",
        [SET_BUSY] = "gpu, gpu N%, never, or command and an absolute path",
        [SET_IDLE] = "a duration up to 1h such as 500ms",
        [SET_TIMEOUT] = "a duration from 100ms to 1h such as 10s",
        [SET_AGAIN_AFTER] = "a duration from 1s to 1h such as 60s",
        [SET_COST] = "a number from 1 to 1000",
    };
    *ret_allowed = allowed[setting];
    switch (setting) {
    case SET_MATCH:
        return read_match(value, holder);
    case SET_ASK:
        return read_ask(value, holder);
    case SET_BODY:
        return copy(value, holder->body);
    case SET_BUSY:
        return read_busy(value, holder);
    case SET_IDLE:
        return read_duration(value, 0, &holder->idle_ns);
    case SET_TIMEOUT:
        return read_duration(value, SECOND_NS / 10, &holder->timeout_ns);
    case SET_AGAIN_AFTER:
        return read_duration(value, SECOND_NS, &holder->again_ns);
    default:
        return read_cost(value, holder);
    }
}

/* ---- Sections -------------------------------------------------------------------------------- */

int config_holder_begin(struct config_holder **holders, size_t *count, const char *name,
                        unsigned line, char why[HOLDER_WHY_MAX])
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    if (!name[0] || strlen(name) >= HOLDER_NAME_MAX || name[strspn(name, allowed)]) {
        (void)snprintf(why, HOLDER_WHY_MAX,
                       "a holder is called by 1 to 32 letters, digits, '-', '_' and '.'");
        return -EINVAL;
    }
    for (size_t i = 0; i < *count; i++) {
        if (strcmp((*holders)[i].name, name) == 0) {
            (void)snprintf(why, HOLDER_WHY_MAX, "there is a holder %s in line %u already", name,
                           (*holders)[i].line);
            return -EINVAL;
        }
    }
    if (*count == HOLDERS_MAX) {
        (void)snprintf(why, HOLDER_WHY_MAX, "there are more than %d holders", HOLDERS_MAX);
        return -EINVAL;
    }
    struct config_holder *grown = realloc(*holders, (*count + 1) * sizeof(*grown));
    if (!grown) {
        return -ENOMEM;
    }
    *holders = grown;
    grown[*count] = (struct config_holder){
        .line = line,
        .busy_percent = 10,
        .idle_ns = SECOND_NS / 2,
        .timeout_ns = 10 * SECOND_NS,
        .again_ns = 60 * SECOND_NS,
        .cost = 10,
    };
    (void)text_copy(grown[*count].name, HOLDER_NAME_MAX, name);
    ++*count;
    return 0;
}

int config_holder_set(struct config_holder *holder, const char *name, const char *value,
                      const char *shown, char why[HOLDER_WHY_MAX])
{
    const char *allowed;
    for (unsigned i = 0; i < SETTINGS; i++) {
        if (strcmp(name, names[i]) != 0) {
            continue;
        }
        if (holder->set & 1u << i) {
            (void)snprintf(why, HOLDER_WHY_MAX, "%s of holder %s is set already", name,
                           holder->name);
            return -EINVAL;
        }
        holder->set |= 1u << i;
        if (read_value(holder, i, value, &allowed) < 0) {
            (void)snprintf(why, HOLDER_WHY_MAX, "%s cannot be '%s': it is %s", name, shown,
                           allowed);
            return -EINVAL;
        }
        return 0;
    }
    (void)snprintf(why, HOLDER_WHY_MAX,
                   "[holder %s] has no setting '%.40s': it has match, ask, body, busy, idle, "
                   "timeout, again_after, cost",
                   holder->name, name);
    return -EINVAL;
}

int config_holder_check(const struct config_holder *holder, char why[HOLDER_WHY_MAX])
{
    bool has_match = holder->set & 1u << SET_MATCH, has_ask = holder->set & 1u << SET_ASK;
    if (!has_match || !has_ask) {
        (void)snprintf(why, HOLDER_WHY_MAX, "[holder %s] lacks %s", holder->name,
                       has_match ? "`ask = …`: how it is asked to give memory back"
                                 : "`match = …`: which processes are its own");
        return -EINVAL;
    }
    if (holder->set & 1u << SET_BODY && holder->ask != HOLDER_ASK_POST) {
        (void)snprintf(why, HOLDER_WHY_MAX, "[holder %s] has a body, which `ask = POST` alone has",
                       holder->name);
        return -EINVAL;
    }
    return 0;
}
