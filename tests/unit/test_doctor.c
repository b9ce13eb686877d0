/* SPDX-License-Identifier: MIT */
/*
 * The doctor: every machine of tests/fixtures/doctor has just the findings that it should, hostile
 * files change nothing but those, and running out of memory is an ordinary error. The fixtures'
 * directory is the first argument, or what the build names.
 */
#include "tests/unit/alloc_fail.h"
#include "tests/unit/doctor_case.h"
#include "tests/unit/doctor_damage.h"

#include "common/utf8.h"
#include "lib/doctor/report.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MOST_CASES 160
#define ROWS 38

static const char *directory = VRAM_DOCTOR_FIXTURES;

static struct {
    size_t count;
    char names[MOST_CASES][NAME_MAX + 1];
    struct CMUnitTest tests[2 * MOST_CASES + 16];
    size_t test_count;
} suite;

/* ---- What a report must be whatever the machine is ---------------------------------------------
 */

static void check_text(const char *text, bool lines_allowed)
{
    size_t length = text ? strlen(text) : 0;
    assert_true(length < 8192);
    while (text && *text) {
        uint32_t c;
        text += utf8_next(text, &c);
        assert_true(c != UTF8_INVALID);
        assert_true((c >= 0x20 && c < 0x7F) || c >= 0xA0 || (lines_allowed && c == '\n'));
    }
}

/* Each line is something to copy, or a sentence that is whole or leads to the next line. */
static void check_remedy(const char *remedy)
{
    while (remedy && *remedy) {
        size_t length = strcspn(remedy, "\n");
        bool sentence =
            remedy[0] >= 'A' && remedy[0] <= 'Z' &&
            remedy[strspn(remedy, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")] != '=';
        assert_true(length > 0);
        if (sentence && remedy[length - 1] != '.' && remedy[length - 1] != ':') {
            fail_msg("neither command nor sentence: %.*s", (int)length, remedy);
        }
        remedy += length + (remedy[length] == '\n');
        assert_true(*remedy || !sentence || remedy[-1] != ':');
    }
}

static void check_report(const struct vram_report *report)
{
    static const int rank[] = {0, 3, 2, 1}; /* facts, problems, notes, what is in order */
    int last = 0;
    for (size_t i = 0; i < vram_report_count(report); i++) {
        const struct vram_finding *finding = vram_report_finding(report, i);
        assert_true(finding->severity <= VRAM_FINDING_PROBLEM);
        assert_true(rank[finding->severity] >= last);
        last = rank[finding->severity];
        assert_non_null(finding->title);
        assert_non_null(finding->cause);
        assert_int_equal(!finding->id, finding->severity == VRAM_FINDING_FACT);
        check_text(finding->title, false);
        check_text(finding->cause, false);
        check_text(finding->evidence, false);
        check_text(finding->remedy, true);
        check_remedy(finding->remedy);
        if (finding->severity == VRAM_FINDING_PROBLEM) {
            assert_non_null(finding->remedy);
        }
    }
    assert_null(vram_report_finding(report, vram_report_count(report)));
}

/* ---- One case -------------------------------------------------------------------------------- */

static void print_report(const struct vram_report *report)
{
    static const char *const severities[] = {"fact", "good", "note", "problem"};
    for (size_t i = 0; i < vram_report_count(report); i++) {
        const struct vram_finding *finding = vram_report_finding(report, i);
        print_message("%-7s %s %s: %s\n", severities[finding->severity],
                      finding->id ? finding->id : "-", finding->title, finding->cause);
        print_message("        told by: %s\n", finding->evidence ? finding->evidence : "-");
        print_message("        %s\n", finding->remedy ? finding->remedy : "-");
    }
}

static const char *part_of(const struct vram_finding *finding, const char *kind)
{
    const char *text = strcmp(kind, "cause") == 0      ? finding->cause
                       : strcmp(kind, "evidence") == 0 ? finding->evidence
                                                       : finding->remedy;
    return text ? text : "";
}

/* The name of what is missing; NULL: all is there. */
static const char *missing_part(const struct vram_finding *finding,
                                const struct doctor_expectation *expected)
{
    for (size_t i = 0; i < expected->part_count; i++) {
        if (!strstr(part_of(finding, expected->parts[i].kind), expected->parts[i].text)) {
            return expected->parts[i].text;
        }
    }
    return NULL;
}

static const struct vram_finding *find(const struct vram_report *report, const char *id)
{
    for (size_t i = 0; i < vram_report_count(report); i++) {
        const struct vram_finding *finding = vram_report_finding(report, i);
        if (finding->id && strcmp(finding->id, id) == 0) {
            return finding;
        }
    }
    return NULL;
}

static bool is_anywhere(const struct vram_report *report, const char *text)
{
    for (size_t i = 0; i < vram_report_count(report); i++) {
        const struct vram_finding *finding = vram_report_finding(report, i);
        if (finding->severity == VRAM_FINDING_FACT) {
            continue;
        }
        if (strstr(part_of(finding, "cause"), text) || strstr(part_of(finding, "evidence"), text) ||
            strstr(part_of(finding, "remedy"), text)) {
            return true;
        }
    }
    return false;
}

static bool has_fact(const struct vram_report *report, const char *name, const char *value)
{
    for (size_t i = 0; i < vram_report_count(report); i++) {
        const struct vram_finding *finding = vram_report_finding(report, i);
        if (finding->severity == VRAM_FINDING_FACT && strcmp(finding->title, name) == 0) {
            return strstr(finding->cause, value) != NULL;
        }
    }
    return false;
}

/* What the report as a whole should have. The name of what is wrong; NULL: nothing. */
static const char *wrong_in_whole(const struct vram_report *report,
                                  const struct doctor_expectation *expected)
{
    const char *text = expected->parts[0].text;
    bool right = expected->part_count == 2 ? has_fact(report, text, expected->parts[1].text)
                                           : !is_anywhere(report, text);
    return right ? NULL : text;
}

/* The next problem or note at or after *position. */
static const struct vram_finding *next_telling(const struct vram_report *report, size_t *position)
{
    for (; *position < vram_report_count(report); (*position)++) {
        const struct vram_finding *finding = vram_report_finding(report, *position);
        if (finding->severity >= VRAM_FINDING_NOTE) {
            (*position)++;
            return finding;
        }
    }
    return NULL;
}

static const char *compare(const struct vram_report *report, const struct doctor_case *machine)
{
    size_t position = 0;
    for (size_t i = 0; i < machine->expectation_count; i++) {
        const struct doctor_expectation *expected = &machine->expectations[i];
        const struct vram_finding *finding;
        const char *wrong;
        if (!expected->id[0]) {
            wrong = wrong_in_whole(report, expected);
        } else {
            finding = expected->severity == VRAM_FINDING_GOOD ? find(report, expected->id)
                                                              : next_telling(report, &position);
            if (!finding || strcmp(finding->id, expected->id) != 0 ||
                finding->severity != expected->severity) {
                return expected->id;
            }
            wrong = missing_part(finding, expected);
        }
        if (wrong) {
            return wrong;
        }
    }
    return next_telling(report, &position) ? "a finding that is not expected" : NULL;
}

static void case_has_its_findings(void **state)
{
    struct doctor_case *machine = doctor_case_open(directory, *state);
    struct vram_report *report = NULL;
    assert_int_equal(doctor_examine(&machine->scene, &report), 0);
    const char *wrong = compare(report, machine);
    if (wrong) {
        print_report(report);
        fail_msg("%s: wrong: %s", (const char *)*state, wrong);
    }
    check_report(report);
    assert_null(vram_report_free(report));
    doctor_case_close(machine);
}

static void case_survives_no_memory(void **state)
{
    struct doctor_case *machine = doctor_case_open(directory, *state);
    for (unsigned n = 1;; n++) {
        struct vram_report *report = NULL;
        alloc_fail_at(n);
        int r = doctor_examine(&machine->scene, &report);
        bool failed = alloc_fail_happened();
        alloc_fail_at(0);
        if (!failed) {
            assert_int_equal(r, 0);
            (void)vram_report_free(report);
            break;
        }
        assert_int_equal(r, -ENOMEM);
        assert_null(report);
    }
    doctor_case_close(machine);
}

/* ---- Hostile files --------------------------------------------------------------------------- */

#define MOST_PATHS 256
#define BIG_FILE ((size_t)1 << 20)

static struct {
    size_t count;
    char paths[MOST_PATHS][PATH_MAX];
} tree;

static int note_path(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    if (kind != FTW_D && kind != FTW_DP && tree.count < MOST_PATHS) {
        (void)snprintf(tree.paths[tree.count++], PATH_MAX, "%s", path);
    }
    return 0;
}

static void examine_damaged(const struct doctor_case *machine)
{
    struct vram_report *report = NULL;
    assert_int_equal(doctor_examine(&machine->scene, &report), 0);
    check_report(report);
    if (machine->scene.start &&
        !machine->scene.daemon.socket) { /* there is always something to say */
        size_t position = 0;
        const struct vram_finding *first = next_telling(report, &position);
        assert_non_null(first);
        assert_int_equal(first->severity, VRAM_FINDING_PROBLEM);
    }
    for (size_t i = 0; i < vram_report_count(report); i++) {
        assert_null(strstr(part_of(vram_report_finding(report, i), "remedy"), "$(reboot)"));
    }
    (void)vram_report_free(report);
}

static void damage_each_file(const char *name)
{
    struct doctor_case *machine = doctor_case_open(directory, name);
    tree.count = 0;
    assert_int_equal(nftw(machine->root, note_path, 16, FTW_PHYS), 0);
    assert_true(tree.count > 3);
    for (size_t i = 0; i < tree.count; i++) {
        char aside[PATH_MAX + 8];
        (void)snprintf(aside, sizeof(aside), "%s.aside", tree.paths[i]);
        assert_int_equal(rename(tree.paths[i], aside), 0);
        for (size_t d = 0; d < DAMAGE_COUNT; d++) {
            damage_make(d, tree.paths[i]);
            examine_damaged(machine);
            (void)remove(tree.paths[i]);
        }
        assert_int_equal(rename(aside, tree.paths[i]), 0);
    }
    doctor_case_close(machine);
}

static void one_hostile_file_is_survived(void **state)
{
    (void)state;
    damage_each_file("healthy-desktop.case");
    damage_each_file("D11-permissions-ubuntu.case");
    damage_each_file("D08-not-built.case");
    damage_each_file("D27-held-memory.case");
    damage_each_file("D35-stale.case");
}

static void a_hostile_machine_is_survived(void **state)
{
    (void)state;
    for (size_t d = 0; d < DAMAGE_COUNT; d++) {
        for (size_t c = 0; c < suite.count; c++) {
            struct doctor_case *machine = doctor_case_open(directory, suite.names[c]);
            tree.count = 0;
            assert_int_equal(nftw(machine->root, note_path, 16, FTW_PHYS), 0);
            for (size_t i = 0; i < tree.count; i++) {
                assert_int_equal(unlink(tree.paths[i]), 0);
                if (!damage_is_big(d) || i < 8) {
                    damage_make(d, tree.paths[i]);
                }
            }
            examine_damaged(machine);
            doctor_case_close(machine);
        }
    }
}

/* ---- The rows -------------------------------------------------------------------------------- */

static void every_row_has_a_case(void **state)
{
    bool seen[ROWS + 1] = {false};
    (void)state;
    for (size_t c = 0; c < suite.count; c++) {
        struct doctor_case *machine = doctor_case_open(directory, suite.names[c]);
        for (size_t i = 0; i < machine->expectation_count; i++) {
            const struct doctor_expectation *expected = &machine->expectations[i];
            unsigned long row = expected->id[0] ? strtoul(expected->id + 1, NULL, 10) : 0;
            assert_true(row <= ROWS);
            seen[row] |= expected->severity >= VRAM_FINDING_NOTE;
        }
        doctor_case_close(machine);
    }
    for (size_t row = 1; row <= ROWS; row++) {
        if (!seen[row]) {
            fail_msg("no case has a finding D%02zu", row);
        }
    }
}

/* ---- The report ------------------------------------------------------------------------------ */

static void add(struct vram_report *report, const char *id, uint32_t severity)
{
    struct vram_finding finding = {.id = id, .severity = severity, .title = "t", .cause = "c"};
    assert_int_equal(report_add(report, &finding), 0);
}

static void report_is_in_order(void **state)
{
    (void)state;
    static const char *const order[] = {"fact", "other", "P1", "P2", "N1", "N2", "G1"};
    struct vram_report *report = doctor_report_new();
    add(report, "G1", VRAM_FINDING_GOOD);
    add(report, "N1", VRAM_FINDING_NOTE);
    add(report, "P1", VRAM_FINDING_PROBLEM);
    assert_int_equal(doctor_fact(report, "fact", "old"), 0);
    add(report, "N2", VRAM_FINDING_NOTE);
    add(report, "P2", VRAM_FINDING_PROBLEM);
    assert_int_equal(doctor_fact(report, "other", "value"), 0);
    assert_int_equal(doctor_fact(report, "fact", "new"), 0);
    assert_int_equal(doctor_fact(report, "unknown", NULL), 0);
    assert_int_equal(doctor_fact(report, "unknown", ""), 0);
    assert_int_equal(vram_report_count(report), ARRAY_LENGTH(order));
    for (size_t i = 0; i < ARRAY_LENGTH(order); i++) {
        const struct vram_finding *finding = vram_report_finding(report, i);
        assert_string_equal(finding->id ? finding->id : finding->title, order[i]);
        assert_null(finding->evidence);
    }
    assert_string_equal(vram_report_finding(report, 0)->cause, "new");
    assert_null(vram_report_free(report));
    assert_null(vram_report_free(NULL));
}

static void report_shows_no_control(void **state)
{
    (void)state;
    struct vram_report *report = doctor_report_new();
    struct vram_finding finding = {
        .id = "P",
        .severity = VRAM_FINDING_PROBLEM,
        .title = "a\033[31mb",
        .cause = "\xFF\xC2\x9B\xE2\x80\xAE\xC3\xA9",
        .remedy = "one\ntwo\r",
    };
    assert_int_equal(report_add(report, &finding), 0);
    const struct vram_finding *shown = vram_report_finding(report, 0);
    assert_string_equal(shown->title, "a?[31mb");
    assert_string_equal(shown->cause, "???\xC3\xA9");
    assert_string_equal(shown->remedy, "one\ntwo?");
    (void)vram_report_free(report);
}

static void report_is_whole_without_memory(void **state)
{
    (void)state;
    struct vram_report *report = doctor_report_new();
    assert_int_equal(doctor_fact(report, "fact", "value"), 0);
    size_t before = 1;
    for (unsigned n = 1;; n++) {
        struct vram_finding finding = {"P",     VRAM_FINDING_NOTE, "title",
                                       "cause", "evidence",        "remedy"};
        alloc_fail_at(n);
        int r = report_add(report, &finding);
        bool failed = alloc_fail_happened();
        alloc_fail_at(0);
        assert_int_equal(r, failed ? -ENOMEM : 0);
        assert_int_equal(vram_report_count(report), before + !failed);
        if (!failed) {
            break;
        }
    }
    alloc_fail_at(1);
    assert_int_equal(doctor_fact(report, "fact", "other"), -ENOMEM);
    alloc_fail_at(0);
    assert_string_equal(vram_report_finding(report, 0)->cause, "value");
    (void)vram_report_free(report);
}

/* ---- Errors ---------------------------------------------------------------------------------- */

static void error_carries_advice(void **state)
{
    (void)state;
    static const char *const codes[] = {
        "library_not_found", "library_broken",   "driver_not_loaded",
        "no_permission",     "version_mismatch", "driver_blocked",
        "driver_failed",     "driver_hung",      "no_gpu",
        "out_of_memory",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(codes); i++) {
        struct err err = {.driver_code = 7};
        assert_int_equal(err_set(&err, -EIO, codes[i], "%s %d", "number", 5), -EIO);
        assert_int_equal(err.result, -EIO);
        assert_int_equal(err.driver_code, 0);
        assert_string_equal(err.code, codes[i]);
        assert_string_equal(err.message, "number 5");
        assert_string_equal(err.hint, err_advice(codes[i])); /* not cut */
        assert_true(strlen(err.hint) > 10);
        const char *second = strchr(err.hint, '\n');
        assert_true(!second || !strchr(second + 1, '\n'));
    }
    assert_string_equal(err_advice("no such code"), "");
}

static void error_is_cut_and_optional(void **state)
{
    (void)state;
    char text[1000];
    struct err err = {0};
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(err_set(&err, -EIO, text, "%s", text), -EIO);
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
    assert_int_equal(strlen(err.code), sizeof(err.code) - 1);
    assert_int_equal(err_set(NULL, -EIO, "code", "%s", text), -EIO);
    assert_int_equal(err_no_memory(NULL), -ENOMEM);
    assert_int_equal(err_no_memory(&err), -ENOMEM);
    assert_string_equal(err.code, "out_of_memory");
}

/* ---- The suite ------------------------------------------------------------------------------- */

static void add_test(const char *name, CMUnitTestFunction function, void *state)
{
    suite.tests[suite.test_count++] = (struct CMUnitTest){
        .name = name,
        .test_func = function,
        .teardown_func = doctor_case_clean_up,
        .initial_state = state,
    };
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int find_cases(void)
{
    DIR *dir = opendir(directory);
    if (!dir) {
        (void)fprintf(stderr, "%s: %s\n", directory, strerror(errno));
        return -1;
    }
    for (struct dirent *entry; (entry = readdir(dir)) && suite.count < MOST_CASES;) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot && strcmp(dot, ".case") == 0) {
            (void)snprintf(suite.names[suite.count++], NAME_MAX + 1, "%s", entry->d_name);
        }
    }
    (void)closedir(dir);
    qsort(suite.names, suite.count, sizeof(suite.names[0]), by_name);
    return suite.count ? 0 : -1;
}

int main(int argc, char **argv)
{
    directory = argc > 1 ? argv[1] : directory;
    if (find_cases() < 0) {
        return EXIT_FAILURE;
    }
    for (size_t i = 0; i < suite.count; i++) {
        add_test(suite.names[i], case_has_its_findings, suite.names[i]);
    }
    for (size_t i = 0; i < suite.count; i++) {
        static char names[MOST_CASES][NAME_MAX + 32];
        (void)snprintf(names[i], sizeof(names[i]), "%s without memory", suite.names[i]);
        add_test(names[i], case_survives_no_memory, suite.names[i]);
    }
    add_test("one hostile file is survived", one_hostile_file_is_survived, NULL);
    add_test("a hostile machine is survived", a_hostile_machine_is_survived, NULL);
    add_test("every row has a case", every_row_has_a_case, NULL);
    add_test("report is in order", report_is_in_order, NULL);
    add_test("report shows no control", report_shows_no_control, NULL);
    add_test("report is whole without memory", report_is_whole_without_memory, NULL);
    add_test("error carries advice", error_carries_advice, NULL);
    add_test("error is cut and optional", error_is_cut_and_optional, NULL);
    return _cmocka_run_group_tests("doctor", suite.tests, suite.test_count, NULL, NULL);
}
