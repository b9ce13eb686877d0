/* SPDX-License-Identifier: MIT */
/*
 * A machine for the doctor, from a text file; tests/fixtures/doctor/README has the statements.
 */
#ifndef VRAM_TESTS_DOCTOR_CASE_H
#define VRAM_TESTS_DOCTOR_CASE_H

#include "lib/doctor.h"
#include "lib/snapshot.h"

#define MOST_STATEMENTS 64

struct doctor_expectation {
    char id[8]; /* "": holds for the report as a whole */
    uint32_t severity;
    struct {
        char kind[12], text[256];
    } parts[16];
    size_t part_count;
};

struct doctor_case {
    char directory[256], root[256];
    char env[16][2][256];
    size_t env_count;
    char library[256], simulation[64];
    bool has_start, has_driver;
    struct err start, daemon_trouble;
    char socket[256];
    struct doctor_daemon daemon;
    struct board board;
    struct vram_snapshot *snapshot;
    struct doctor_expectation expectations[MOST_STATEMENTS];
    size_t expectation_count;
    struct doctor_scene scene; /* of the above; its env() is of the case opened last */
};

/* Reads a case and builds its machine in a directory of its own. Fails the test where that cannot
 * be done. */
struct doctor_case *doctor_case_open(const char *directory, const char *name);
void doctor_case_close(struct doctor_case *machine);
/* Closes what a failed test left open; for a teardown. */
int doctor_case_clean_up(void **state);

/* Removes a directory tree. */
void remove_tree(const char *path);

#endif
