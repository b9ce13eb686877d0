/* SPDX-License-Identifier: MIT */
#include "sim/scenario.h"

#include "sim/statement.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int complain_at(struct complaint *complaint, const char *name, uint32_t number,
                       const char *text)
{
    return complain(complaint, "%.80s:%u: %s", name, number, text);
}

static int no_memory(struct complaint *complaint)
{
    (void)complain(complaint, "out of memory");
    return -ENOMEM;
}

void scenario_done(struct scenario *scenario)
{
    free(scenario->lines);
    free(scenario->text);
    *scenario = (struct scenario){0};
}

/* Digits and dots, as in 550.54.14. */
static bool is_version(const char *text)
{
    return *text >= '0' && *text <= '9' && strspn(text, "0123456789.") == strlen(text);
}

static int read_cuda(const char *text, uint32_t *ret_cuda, struct complaint *complaint)
{
    unsigned major = 0, minor = 0;
    char rest;
    if (!is_version(text) || strlen(text) > 8 ||
        sscanf(text, "%3u.%1u%c", &major, &minor, &rest) != 2) {
        return complain(complaint, "cuda %.40s is not a version; write cuda 12.4", text);
    }
    *ret_cuda = major * 1000 + minor * 10;
    return 0;
}

/* A line of the heading: driver, cuda, clock. -ENOENT: another line. */
static int read_heading(struct scenario *scenario, struct words *words, struct complaint *complaint)
{
    static const char *const clocks[] = {"real", "virtual", NULL};
    const char *verb = words->word[0];
    const char *value = words->count > 1 ? words->word[1] : "";
    bool driver = strcmp(verb, "driver") == 0, cuda = strcmp(verb, "cuda") == 0;
    if (!driver && !scenario->driver[0]) {
        return complain(complaint,
                        "the first line must be 'driver VERSION', as in driver 550.54.14");
    }
    if (!driver && !cuda && strcmp(verb, "clock") != 0) {
        return -ENOENT;
    }
    if (words->count > 2) {
        return complain(complaint, "unknown word '%.40s'", words->word[2]);
    }
    if (driver) {
        if (scenario->driver[0] || !is_version(value) || strlen(value) > 40) {
            return complain(complaint,
                            "driver '%.40s' is not one version; write driver 550.54.14, once",
                            value);
        }
        (void)snprintf(scenario->driver, sizeof(scenario->driver), "%s", value);
        return 0;
    }
    if (cuda) {
        return read_cuda(value, &scenario->cuda, complaint);
    }
    uint64_t clock = 0;
    int r = value_choice("clock", value, clocks, &clock, complaint);
    scenario->virtual_clock = clock == 1;
    return r;
}

static int add_line(struct scenario *scenario, const char *text, uint32_t number,
                    struct complaint *complaint)
{
    if (scenario->line_count == SCENARIO_LINES_MAX) {
        return complain(complaint, "more than %d lines", SCENARIO_LINES_MAX);
    }
    struct line line = {.number = number, .id = (uint32_t)scenario->line_count};
    const char *rest = text;
    int r = statement_time(&rest, &line.time, complaint);
    if (r == 0) {
        line.setup = rest == text;
        line.text = rest;
        scenario->lines[scenario->line_count++] = line;
    }
    return r;
}

static int read_line(struct scenario *scenario, const char *text, uint32_t number,
                     struct complaint *complaint)
{
    struct words words;
    int r = words_split(&words, text, strlen(text), complaint);
    if (r < 0 || words.count == 0) {
        return r;
    }
    r = read_heading(scenario, &words, complaint);
    return r == -ENOENT ? add_line(scenario, text, number, complaint) : r;
}

static int by_time(const void *a, const void *b)
{
    const struct line *left = a, *right = b;
    if (left->time != right->time) {
        return left->time < right->time ? -1 : 1;
    }
    return left->id < right->id ? -1 : 1;
}

/* Lives the scenario through to its end. */
static int rehearse(const struct scenario *scenario, const char *name, struct complaint *complaint)
{
    struct world *world = world_create();
    if (!world) {
        return no_memory(complaint);
    }
    int r = 0;
    for (size_t i = 0; r == 0 && i < scenario->line_count; i++) {
        const struct line *line = &scenario->lines[i];
        struct complaint wrong;
        world->now = line->time;
        r = statement_run(world, line->text, line->id, line->setup, false, &wrong);
        if (r < 0) {
            r = complain_at(complaint, name, line->number, wrong.text);
        }
    }
    world_destroy(world);
    return r;
}

static int read_lines(struct scenario *scenario, const char *name, struct complaint *complaint)
{
    uint32_t number = 0;
    for (char *at = scenario->text; at;) {
        char *end = strchr(at, '\n');
        struct complaint wrong;
        number++;
        if (end) {
            *end = '\0';
        }
        if (read_line(scenario, at, number, &wrong) < 0) {
            return complain_at(complaint, name, number, wrong.text);
        }
        at = end ? end + 1 : NULL;
    }
    if (!scenario->driver[0]) {
        return complain_at(complaint, name, number,
                           "nothing in it; the first line must be 'driver VERSION'");
    }
    if (scenario->line_count) {
        qsort(scenario->lines, scenario->line_count, sizeof(*scenario->lines), by_time);
    }
    return rehearse(scenario, name, complaint);
}

/* No text has more lines than line ends. */
static size_t most_lines(const char *text)
{
    size_t count = 1;
    while ((text = strchr(text, '\n'))) {
        text++;
        count++;
    }
    return count < SCENARIO_LINES_MAX ? count : SCENARIO_LINES_MAX;
}

int scenario_parse(const char *text, size_t length, const char *name, struct scenario *ret_scenario,
                   struct complaint *complaint)
{
    struct scenario scenario = {0};
    if (length > SCENARIO_TEXT_MAX || (length && memchr(text, '\0', length))) {
        return complain(complaint, "%.80s: not a scenario: %s", name,
                        length > SCENARIO_TEXT_MAX ? "larger than 256 KiB" : "not a text file");
    }
    scenario.text = malloc(length + 1);
    if (!scenario.text) {
        return no_memory(complaint);
    }
    if (length) {
        memcpy(scenario.text, text, length);
    }
    scenario.text[length] = '\0';
    scenario.lines = malloc(most_lines(scenario.text) * sizeof(*scenario.lines));
    int r = scenario.lines ? read_lines(&scenario, name, complaint) : no_memory(complaint);
    if (r < 0) {
        scenario_done(&scenario);
        return r;
    }
    *ret_scenario = scenario;
    return 0;
}
