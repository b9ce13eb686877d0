/* SPDX-License-Identifier: MIT */
/* The misbehaving part of the scenario language: what calls meet. */
#include "sim/statement.h"

#include "common/nvml_abi.h"
#include <errno.h>
#include <limits.h>
#include <string.h>

static int parse_code(const char *text, int *ret_code, struct complaint *complaint)
{
    static const struct {
        const char *name;
        int code;
    } codes[] = {
#define NVML_CODE(value, name, text) {#name, value},
        NVML_RETURNS(NVML_CODE)
#undef NVML_CODE
    };
    for (size_t i = 0; i < ARRAY_LENGTH(codes); i++) {
        if (strcmp(text, codes[i].name) == 0) {
            *ret_code = codes[i].code;
            return 0;
        }
    }
    uint64_t code;
    bool negative = *text == '-'; /* no driver should, so that a test can */
    int r = value_number("ret", text + negative, INT32_MAX, &code, complaint);
    if (r < 0) {
        return complain(complaint, "ret=%.40s is neither a number nor a name such as GPU_IS_LOST",
                        text);
    }
    *ret_code = negative ? -(int)code : (int)code;
    return 0;
}

static int parse_percent(const char *key, const char *text, uint64_t *ret,
                         struct complaint *complaint)
{
    char digits[8] = "";
    size_t length = strlen(text);
    if (length < 2 || length > sizeof(digits) || text[length - 1] != '%') {
        return complain(complaint, "%s=%.40s is not a percentage; write 20%%", key, text);
    }
    memcpy(digits, text, length - 1);
    return value_number(key, digits, 100, ret, complaint);
}

/* gpu=N, for a GPU that exists. */
static int parse_rule_gpu(struct statement *s, const char *text, int *ret_gpu)
{
    uint64_t gpu;
    int r = value_number("gpu", text, WORLD_GPUS - 1, &gpu, s->complaint);
    if (r == 0 && !s->world->gpus[gpu].defined) {
        r = complain(s->complaint, "gpu=%.8s: that GPU is not defined", text);
    }
    if (r == 0) {
        *ret_gpu = (int)gpu;
    }
    return r;
}

/* One word of a rule, behind its function. */
static int set_rule(struct statement *s, struct rule *rule, char *word)
{
    char *value = words_value(word);
    if (!value && rule->kind == RULE_DELAY) {
        return value_time("delay", word, &rule->time, s->complaint);
    }
    if (!value) {
        return complain(s->complaint, "unknown word '%.40s'", word);
    }
    if (strcmp(word, "gpu") == 0) {
        return parse_rule_gpu(s, value, &rule->gpu);
    }
    if (strcmp(word, "times") == 0) {
        return value_number(word, value, UINT32_MAX, &rule->times, s->complaint);
    }
    if (strcmp(word, "after") == 0) {
        return value_number(word, value, UINT32_MAX, &rule->after, s->complaint);
    }
    if (rule->kind == RULE_FAIL && strcmp(word, "ret") == 0) {
        return parse_code(value, &rule->code, s->complaint);
    }
    if (rule->kind == RULE_DELAY && strcmp(word, "jitter") == 0) {
        return parse_percent(word, value, &rule->jitter, s->complaint);
    }
    if (rule->kind == RULE_HANG && strcmp(word, "until") == 0) {
        return strcmp(value, "release") == 0 ? 0
                                             : value_time(word, value, &rule->time, s->complaint);
    }
    if (rule->kind == RULE_GROW && strcmp(word, "by") == 0) {
        return value_number(word, value, WORLD_PROCESSES, &rule->by, s->complaint);
    }
    if (rule->kind == RULE_GROW && strcmp(word, "mem") == 0) {
        return value_size(word, value, &rule->size, s->complaint);
    }
    if (rule->kind == RULE_AFTER && strcmp(word, "call") == 0) {
        int r = value_number(word, value, UINT32_MAX, &rule->after, s->complaint);
        if (r == 0 && rule->after == 0) {
            r = complain(s->complaint, "call=0: calls are counted from 1");
        }
        return r;
    }
    return complain(s->complaint, "unknown word '%.40s='", word);
}

static int add_rule(struct statement *s, const struct rule *rule)
{
    if (s->dry) {
        return 0;
    }
    struct rule *added = world_add_rule(s->world, s->complaint);
    if (!added) {
        return -EINVAL;
    }
    *added = *rule;
    function_set_add(&s->world->ruled, &rule->functions);
    return 0;
}

/* What is missing from a rule that was read to its end. */
static int check_rule(struct statement *s, const struct rule *rule)
{
    if (rule->kind == RULE_FAIL && rule->code == INT_MIN) {
        return complain(s->complaint, "with which code? Write ret=15 or ret=GPU_IS_LOST");
    }
    if (rule->kind == RULE_DELAY && rule->time == WORLD_NEVER) {
        return complain(s->complaint, "how long? Write delay nvmlInit_v2 2s");
    }
    if (rule->kind == RULE_AFTER && rule->after == 0) {
        return complain(s->complaint, "after which call? Write call=1");
    }
    return 0;
}

static int run_rule(struct statement *s, struct rule *rule)
{
    const char *pattern = rule->kind == RULE_GROW ? "nvmlDeviceGetComputeRunningProcesses" : NULL;
    int r = 0;
    if (pattern) {
        uint32_t gpu = 0;
        r = statement_gpu(s, &gpu);
        rule->gpu = (int)gpu;
    } else {
        pattern = words_next(&s->words);
    }
    if (r == 0 && !pattern) {
        r = complain(s->complaint, "which function? Write nvmlDeviceGetMemoryInfo, or *");
    }
    if (r == 0) {
        r = function_set_parse(pattern, &rule->functions, s->complaint);
    }
    for (char *word; r == 0 && (word = words_next(&s->words));) {
        r = set_rule(s, rule, word);
    }
    return r < 0 ? r : check_rule(s, rule);
}

/* Hangs end, also for calls that wait in one; `clear` ends every rule. */
static void end_rules(struct world *world, bool all)
{
    for (size_t i = 0; i < world->rule_count; i++) {
        struct rule *rule = &world->rules[i];
        rule->released |= rule->kind == RULE_HANG || all;
    }
    if (all) {
        world->ruled = (struct function_set){{0}};
        world->skew = SKEW_NONE;
    }
}

int statement_rule(struct statement *s, const char *verb)
{
    static const char *const verbs[] = {"fail", "delay", "hang", "crash", "grow"};
    bool release = strcmp(verb, "release") == 0, clear = strcmp(verb, "clear") == 0;
    if (release || clear) {
        if (!s->dry) {
            end_rules(s->world, clear);
        }
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(verbs); i++) {
        if (strcmp(verb, verbs[i]) == 0) {
            struct rule rule = {.kind = (enum rule_kind)i,
                                .id = s->id,
                                .gpu = -1,
                                .code = INT_MIN,
                                .times = WORLD_NEVER,
                                .time = WORLD_NEVER,
                                .by = 1,
                                .size = (uint64_t)1 << 20};
            int r = run_rule(s, &rule);
            return r < 0 ? r : add_rule(s, &rule);
        }
    }
    return -ENOENT;
}

/* Where the word "do" stands in a line, outside quotes; NULL where it does not. */
static const char *find_do(const char *line)
{
    bool quoted = false;
    for (const char *at = line; *at; at++) {
        if (quoted && *at == '\\' && at[1]) {
            at++;
            continue;
        }
        quoted ^= *at == '"';
        if (!quoted && strncmp(at, " do ", 4) == 0) {
            return at;
        }
    }
    return NULL;
}

int statement_after(struct statement *s, const char *line)
{
    struct rule rule = {.kind = RULE_AFTER, .id = s->id, .gpu = -1};
    const char *end = find_do(line);
    if (!end) {
        return complain(s->complaint,
                        "do what? Write after nvmlDeviceGetMemoryInfo call=1 do proc …");
    }
    int r = words_split(&s->words, line, (size_t)(end - line), s->complaint);
    if (r == 0) {
        (void)words_next(&s->words); /* "after" */
        r = run_rule(s, &rule);
    }
    rule.action = end + 4;
    rule.after--; /* call=N is the call that follows N - 1 others */
    rule.times = 1;
    const char *action = rule.action;
    uint64_t time;
    if (r == 0) {
        r = statement_time(&action, &time, s->complaint);
    }
    if (r == 0) {
        r = statement_run(s->world, action, 0, false, true, s->complaint);
    }
    return r < 0 ? r : add_rule(s, &rule);
}
