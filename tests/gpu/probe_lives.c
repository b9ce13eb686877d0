/* SPDX-License-Identifier: MIT */
/* What becomes of the driver's connection in a forked child and of a wait under signals, and when the memory of a
 * process that ends is free. */
#include "tests/gpu/probe.h"

#include "include/vram.h"
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define LONGEST_S 10
#define ROOM 1024

/* ---- Forked children ------------------------------------------------------------------------- */

/* Runs `ask` in a child that cannot stay for ever. */
static void in_child(struct probe *probe, void (*ask)(struct probe *, const char *))
{
    int status = 0;
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        (void)alarm(LONGEST_S);
        ask(probe, "child");
        (void)fflush(stdout);
        _exit(0);
    }
    (void)waitpid(pid, &status, 0);
    (void)printf("{\"who\":\"child\",\"what\":\"its end\",\"code\":%d}\n",
                 WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status));
}

static void tell(const char *who, const char *what, int code)
{
    (void)printf("{\"who\":\"%s\",\"what\":\"%s\",\"code\":%d}\n", who, what, code);
    (void)fflush(stdout);
}

static void ask_driver(struct probe *probe, const char *who)
{
    struct nvml_memory_v2 memory = {.version = NVML_MEMORY_V2};
    uint32_t count = 0;
    tell(who, "nvmlDeviceGetMemoryInfo_v2, the handle from before",
         CALL(nvmlDeviceGetMemoryInfo_v2, probe->device, &memory));
    tell(who, "nvmlDeviceGetCount_v2", CALL(nvmlDeviceGetCount_v2, &count));
    tell(who, "nvmlInit_v2 once more", CALL(nvmlInit_v2));
    nvml_device device = NULL;
    tell(who, "nvmlDeviceGetHandleByPciBusId_v2",
         CALL(nvmlDeviceGetHandleByPciBusId_v2, probe->pci, &device));
    memory = (struct nvml_memory_v2){.version = NVML_MEMORY_V2};
    if (device) {
        tell(who, "nvmlDeviceGetMemoryInfo_v2, a handle of its own",
             CALL(nvmlDeviceGetMemoryInfo_v2, device, &memory));
        (void)printf("{\"who\":\"%s\",\"what\":\"total\",\"code\":0,\"bytes\":%" PRIu64 "}\n", who,
                     memory.total);
    }
    tell(who, "nvmlShutdown", CALL(nvmlShutdown));
}

/* fork: NVML's own answers. */
int probe_fork(struct probe *probe)
{
    in_child(probe, ask_driver);
    ask_driver(probe, "parent");
    return 0;
}

static struct vram *handle;

static void ask_vram(struct probe *probe, const char *who)
{
    struct vram_snapshot *snapshot = NULL;
    (void)probe;
    double start = probe_now_us();
    int r = vram_snapshot_take(handle, VRAM_TAKE_ALL, &snapshot);
    uint64_t total = r >= 0 && vram_snapshot_gpu_count(snapshot)
                         ? vram_snapshot_gpu(snapshot, 0)->total_bytes
                         : 0;
    (void)printf("{\"who\":\"%s\",\"what\":\"vram_snapshot_take\",\"code\":%d,\"bytes\":%" PRIu64
                 ",\"us\":%.0f}\n",
                 who, r, total, probe_now_us() - start);
    if (snapshot) {
        vram_snapshot_unref(snapshot);
    }
}

/* fork-vram DRIVER: the library's, whose handle goes on working. */
int probe_fork_vram(struct probe *probe)
{
    struct vram_options options = VRAM_OPTIONS_INIT;
    options.driver = probe->argument_count ? probe->arguments[0] : NULL;
    options.flags = VRAM_OPEN_DIRECT;
    if (vram_open(&handle, &options) < 0) {
        probe_die("out of memory");
    }
    ask_vram(probe, "parent");
    in_child(probe, ask_vram);
    ask_vram(probe, "parent");
    vram_close(handle);
    return 0;
}

/* ---- Signals --------------------------------------------------------------------------------- */

static void do_nothing(int number)
{
    (void)number;
}

static void wait_for_events(nvml_event_set set, const char *what, uint32_t timeout_ms)
{
    struct nvml_event event = {0};
    double start = probe_now_us();
    int code = CALL(nvmlEventSetWait_v2, set, &event, timeout_ms);
    (void)printf("{\"what\":\"%s\",\"code\":%d,\"timeout_ms\":%u,\"waited_ms\":%.1f}\n", what, code,
                 timeout_ms, (probe_now_us() - start) / 1e3);
}

/* signal: does waiting for events end early at a signal, with SA_RESTART and without? */
int probe_signal(struct probe *probe)
{
    nvml_event_set set = NULL;
    uint64_t types = 0;
    struct itimerval soon = {.it_value = {0, 200000}};
    struct sigaction action = {.sa_handler = do_nothing};
    int code = CALL(nvmlEventSetCreate, &set);
    code = code ? code : CALL(nvmlDeviceGetSupportedEventTypes, probe->device, &types);
    code = code ? code : CALL(nvmlDeviceRegisterEvents, probe->device, types & NVML_EVENT_XID, set);
    tell("parent", "registered", code);
    if (code) {
        return 0;
    }
    wait_for_events(set, "no signal", 300);
    (void)sigaction(SIGALRM, &action, NULL);
    (void)setitimer(ITIMER_REAL, &soon, NULL);
    wait_for_events(set, "a signal after 200 ms", 1000);
    action.sa_flags = SA_RESTART;
    (void)sigaction(SIGALRM, &action, NULL);
    (void)setitimer(ITIMER_REAL, &soon, NULL);
    wait_for_events(set, "a signal after 200 ms, SA_RESTART", 1000);
    tell("parent", "freed", CALL(nvmlEventSetFree, set));
    return 0;
}

/* ---- How long memory outlives its owner ------------------------------------------------------ */

struct end {
    double gone_us, list_us, memory_us; /* since the beginning of the end; 0: not yet */
    int looks;
};

static uint64_t used_now(const struct probe *probe)
{
    struct nvml_memory_v2 memory = {.version = NVML_MEMORY_V2};
    return CALL(nvmlDeviceGetMemoryInfo_v2, probe->device, &memory) ? UINT64_MAX : memory.used;
}

static bool is_listed(const struct probe *probe, pid_t pid)
{
    static struct nvml_process_24 entries[ROOM];
    uint32_t count = ROOM;
    int code = CALL(nvmlDeviceGetComputeRunningProcesses_v3, probe->device, &count, entries);
    for (uint32_t i = 0; code == 0 && i < count; i++) {
        if (entries[i].pid == (uint32_t)pid) {
            return true;
        }
    }
    return code != 0;
}

/* Looks as fast as the driver answers, until all three are over. `floor` is what others use. */
static bool watch_end(const struct probe *probe, pid_t pid, uint64_t floor, double start,
                      struct end *end)
{
    while (probe_now_us() - start < LONGEST_S * 1e6) {
        siginfo_t info = {0};
        if (end->gone_us <= 0 &&
            waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid) {
            end->gone_us = probe_now_us() - start;
        }
        if (end->memory_us <= 0 && used_now(probe) <= floor) {
            end->memory_us = probe_now_us() - start;
        }
        if (end->list_us <= 0 && !is_listed(probe, pid)) {
            end->list_us = probe_now_us() - start;
        }
        end->looks++;
        if (end->gone_us > 0 && end->memory_us > 0 && end->list_us > 0) {
            return true;
        }
    }
    return false;
}

/* A child whose standard input and output are pipes. */
static pid_t start_program(char **words, int *ret_input, FILE **ret_output)
{
    int input[2], output[2];
    if (pipe(input) < 0 || pipe(output) < 0) {
        probe_die("no pipe");
    }
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(input[0], 0);
        (void)dup2(output[1], 1);
        for (int fd = 3; fd < 256; fd++) {
            (void)close(fd); /* the driver's own among them: they would hold the device open */
        }
        (void)execv(words[0], words);
        _exit(127);
    }
    (void)close(input[0]);
    (void)close(output[1]);
    *ret_input = input[1];
    *ret_output = fdopen(output[0], "r");
    return pid;
}

/* Lines of "ok" until the program has run its commands. */
static bool await_answers(FILE *output, int count)
{
    char line[128];
    while (count && fgets(line, sizeof(line), output)) {
        if (strncmp(line, "ok", 2) != 0) {
            return false;
        }
        count--;
    }
    return count == 0;
}

/* lag HOW ROUNDS ANSWERS PROGRAM…: starts PROGRAM, which prints so many answers and then waits for the end of its
 * standard input; ends it so ("exit") or with SIGKILL ("kill"); prints when it was gone, unlisted, and its memory
 * free. */
int probe_lag(struct probe *probe)
{
    if (probe->argument_count < 4) {
        probe_die("lag HOW ROUNDS ANSWERS PROGRAM…");
    }
    bool by_kill = strcmp(probe->arguments[0], "kill") == 0;
    long rounds = probe_number(probe, 1, 1);
    (void)signal(SIGPIPE, SIG_IGN);
    for (long i = 0; i < rounds; i++) {
        int input, status;
        FILE *output;
        struct end end = {0};
        uint64_t floor = used_now(probe);
        pid_t pid = start_program(probe->arguments + 3, &input, &output);
        bool good = await_answers(output, (int)probe_number(probe, 2, 1));
        uint64_t held = used_now(probe) - floor;
        double start = probe_now_us();
        if (by_kill) {
            (void)kill(pid, SIGKILL);
        }
        (void)close(input);
        good = good && watch_end(probe, pid, floor, start, &end);
        (void)kill(pid, SIGKILL);
        (void)fclose(output);
        (void)waitpid(pid, &status, 0);
        (void)printf("{\"how\":\"%s\",\"good\":%s,\"held\":%" PRIu64
                     ",\"gone_us\":%.0f,\"list_us\":%.0f,"
                     "\"memory_us\":%.0f,\"looks\":%d}\n",
                     probe->arguments[0], good ? "true" : "false", held, end.gone_us, end.list_us,
                     end.memory_us, end.looks);
        (void)fflush(stdout);
    }
    return 0;
}
