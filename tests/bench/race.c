/* SPDX-License-Identifier: MIT */
/*
 * Runs commands in turn, each turn in another order, and prints of each the median wall time in µs, the median
 * peak memory in KiB and the number of runs. A small C program, because a child's peak memory counts that of the
 * program that started it, and because starting one from Python costs as much as what is measured.
 *
 *     race ROUNDS SLOW-EVERY -- COMMAND… -- COMMAND…
 *
 * Commands that take more than 50 ms run in every SLOW-EVERYth turn only.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#define MOST_COMMANDS 16
#define MOST_ROUNDS 10000

extern char **environ;

struct runner {
    char **arguments;
    double us[MOST_ROUNDS];
    double kib[MOST_ROUNDS];
    int runs;
};

static struct runner runners[MOST_COMMANDS];

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void run(struct runner *runner)
{
    posix_spawn_file_actions_t actions;
    struct rusage usage;
    pid_t child;
    int status;
    posix_spawn_file_actions_init(&actions);
    for (int fd = 0; fd < 3; fd++) {
        posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", fd ? O_WRONLY : O_RDONLY, 0);
    }
    double start = now_us();
    if (posix_spawnp(&child, runner->arguments[0], &actions, NULL, runner->arguments, environ) !=
            0 ||
        wait4(child, &status, 0, &usage) != child || status != 0) {
        fprintf(stderr, "race: %s failed\n", runner->arguments[0]);
        exit(1);
    }
    runner->us[runner->runs] = now_us() - start;
    runner->kib[runner->runs++] = (double)usage.ru_maxrss;
    posix_spawn_file_actions_destroy(&actions);
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof(*values), compare);
    return values[count / 2];
}

int main(int argc, char **argv)
{
    int rounds = argc > 4 ? (int)strtol(argv[1], NULL, 10) : 0;
    int every = argc > 4 ? (int)strtol(argv[2], NULL, 10) : 0, count = 0;
    if (rounds < 1 || rounds > MOST_ROUNDS || every < 1) {
        fprintf(stderr, "usage: race ROUNDS SLOW-EVERY -- COMMAND… -- COMMAND…\n");
        return 2;
    }
    for (int i = 3; i < argc && count < MOST_COMMANDS; i++) {
        if (strcmp(argv[i], "--") == 0) {
            argv[i] = NULL;
            runners[count++].arguments = argv + i + 1;
        }
    }
    for (int turn = 0; turn < rounds; turn++) {
        for (int i = 0; i < count; i++) {
            struct runner *runner = &runners[(i + turn) % count];
            if (!runner->runs || runner->us[0] < 50000 || turn % every == 0) {
                run(runner);
            }
        }
    }
    for (int i = 0; i < count; i++) {
        printf("%.0f %.0f %d\n", median(runners[i].us, runners[i].runs),
               median(runners[i].kib, runners[i].runs), runners[i].runs);
    }
    return 0;
}
