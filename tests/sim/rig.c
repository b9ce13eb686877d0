/* SPDX-License-Identifier: MIT */
#include "tests/sim/rig.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

const char *const rig_generations[] = {"r390", "r418",    "r440",    "r450",     "r470",
                                       "r510", "r535_54", "r535_98", "r535_104", "r550",
                                       "r570", "r580",    "r610",    NULL};

static char directory[] = "/tmp/vram-sim-test-XXXXXX";
static unsigned written;
static struct rig *open_rig;

uint32_t rig_release(const char *generation)
{
    static const struct {
        const char *name;
        uint32_t release;
    } releases[] = {
        {"r390", 390157},     {"r418", 418226}, {"r440", 440118},    {"r450", 450057},
        {"r470", 470256},     {"r510", 510108}, {"r535_54", 535054}, {"r535_98", 535098},
        {"r535_104", 535104}, {"r550", 550054}, {"r570", 570086},    {"r580", 580095},
        {"r610", 610043},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(releases); i++) {
        if (strcmp(generation, releases[i].name) == 0) {
            return releases[i].release;
        }
    }
    fail_msg("no generation %s", generation);
    return 0;
}

/* ---- The group's directory --------------------------------------------------------------------- */

int rig_group_set_up(void **state)
{
    static const char *const unset[] = {"VRAM_SIM", "VRAM_SIM_STRICT", "VRAM_DRIVER",
                                        "CUDA_VISIBLE_DEVICES", "XDG_RUNTIME_DIR"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(unset); i++) {
        (void)unsetenv(unset[i]);
    }
    if (!getenv("VRAM_SIM_DIR")) {
        fprintf(stderr, "VRAM_SIM_DIR must name the built simulated driver\n");
        return -1;
    }
    return mkdtemp(directory) ? setenv("VRAM_SIM_STATE_DIR", directory, 1) : -1;
}

int rig_group_tear_down(void **state)
{
    (void)state;
    DIR *dir = opendir(directory);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    }
    if (dir) {
        (void)closedir(dir);
    }
    return rmdir(directory);
}

const char *rig_write(const char *text)
{
    static char path[128];
    (void)snprintf(path, sizeof(path), "%s/%u.scenario", directory, written++);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* ---- The library ------------------------------------------------------------------------------- */

static void look_up(struct rig *rig, const char *name, void *function, size_t size)
{
    void *symbol = dlsym(rig->library, name);
    memcpy(function, &symbol, size);
}

struct rig *rig_load(const char *generation)
{
    char path[512];
    struct rig *rig = calloc(1, sizeof(*rig));
    assert_non_null(rig);
    if (open_rig) { /* of a test that failed half-way */
        rig_close(open_rig);
    }
    open_rig = rig;
    (void)snprintf(path, sizeof(path), "%s/%s/libnvidia-ml.so.1", getenv("VRAM_SIM_DIR"),
                   generation);
    rig->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!rig->library) {
        fail_msg("%s", dlerror());
    }
    look_up(rig, "vram_sim_select", &rig->select, sizeof(rig->select));
    look_up(rig, "vram_sim_error", &rig->error, sizeof(rig->error));
    look_up(rig, "nvmlErrorString", &rig->nvmlErrorString, sizeof(rig->nvmlErrorString));
#define RIG_LOOK_UP(name, parameters) look_up(rig, #name, &rig->name, sizeof(rig->name));
    RIG_FUNCTIONS(RIG_LOOK_UP)
#undef RIG_LOOK_UP
    return rig;
}

struct rig *rig_open(const char *generation, const char *spec)
{
    struct rig *rig = rig_load(generation);
    if (rig->select(spec) != 0) {
        fail_msg("%s", rig->error());
    }
    (void)snprintf(rig->spec, sizeof(rig->spec), "%s", spec);
    assert_int_equal(rig->nvmlInit_v2(), NVML_SUCCESS);
    return rig;
}

struct rig *rig_play(const char *text)
{
    char scenario[4096];
    int length = snprintf(scenario, sizeof(scenario), "driver 550.54.14\n%s", text);
    assert_in_range(length, 1, sizeof(scenario) - 1);
    return rig_open("r550", rig_write(scenario));
}

void rig_close(struct rig *rig)
{
    if (rig->spec[0]) {
        (void)rig->nvmlShutdown();
    }
    assert_int_equal(dlclose(rig->library), 0);
    open_rig = NULL;
    free(rig);
}

/* ---- Questions --------------------------------------------------------------------------------- */

nvml_device rig_device(struct rig *rig, uint32_t index)
{
    nvml_device device = NULL;
    assert_int_equal(rig->nvmlDeviceGetHandleByIndex_v2(index, &device), NVML_SUCCESS);
    return device;
}

struct nvml_memory_v2 rig_memory(struct rig *rig, nvml_device device)
{
    struct nvml_memory_v2 memory = {.version = NVML_MEMORY_V2};
    assert_int_equal(rig->nvmlDeviceGetMemoryInfo_v2(device, &memory), NVML_SUCCESS);
    return memory;
}

uint64_t rig_used(struct rig *rig, uint32_t index)
{
    return rig_memory(rig, rig_device(rig, index)).used / MIB;
}

uint32_t rig_list(struct rig *rig, nvml_device device, uint32_t pids[16], uint64_t used[16])
{
    struct nvml_process_24 entries[16];
    uint32_t count = 16;
    assert_int_equal(rig->nvmlDeviceGetComputeRunningProcesses_v3(device, &count, entries),
                     NVML_SUCCESS);
    for (uint32_t i = 0; i < count; i++) {
        pids[i] = entries[i].pid;
        used[i] = entries[i].used_bytes / MIB;
    }
    return count;
}

int64_t rig_listed(struct rig *rig, nvml_device device, uint32_t pid)
{
    uint32_t pids[16];
    uint64_t used[16];
    uint32_t count = rig_list(rig, device, pids, used);
    for (uint32_t i = 0; i < count; i++) {
        if (pids[i] == pid) {
            return (int64_t)used[i];
        }
    }
    return -1;
}

/* ---- vram-sim ---------------------------------------------------------------------------------- */

pid_t rig_start(const char *spec, char *const arguments[], int *ret_output)
{
    char program[512];
    char *argv[16] = {"vram-sim"};
    int ends[2];
    for (size_t i = 0; arguments[i] && i < 14; i++) {
        argv[i + 1] = arguments[i];
    }
    (void)snprintf(program, sizeof(program), "%s/vram-sim", getenv("VRAM_SIM_DIR"));
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)dup2(ends[1], STDERR_FILENO);
        (void)setenv("VRAM_SIM", spec, 1);
        (void)execv(program, argv);
        _exit(127);
    }
    (void)close(ends[1]);
    *ret_output = ends[0];
    return pid;
}

int rig_sim(const char *spec, char *const arguments[], char *output, size_t size)
{
    int fd, status;
    size_t length = 0;
    char spare[256];
    pid_t pid = rig_start(spec, arguments, &fd);
    for (;;) {
        bool room = output && length + 1 < size;
        ssize_t got =
            read(fd, room ? output + length : spare, room ? size - 1 - length : sizeof(spare));
        if (got <= 0) {
            break;
        }
        length += room ? (size_t)got : 0;
    }
    if (output) {
        output[length] = '\0';
    }
    (void)close(fd);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

void rig_inject(const char *spec, const char *line)
{
    char output[512], copy[512];
    (void)snprintf(copy, sizeof(copy), "%s", line);
    if (rig_sim(spec, (char *[]){"inject", copy, NULL}, output, sizeof(output)) != 0) {
        fail_msg("%s", output);
    }
}

void rig_advance(const char *spec, const char *time)
{
    char output[512], copy[64];
    (void)snprintf(copy, sizeof(copy), "%s", time);
    if (rig_sim(spec, (char *[]){"advance", copy, NULL}, output, sizeof(output)) != 0) {
        fail_msg("%s", output);
    }
}

void rig_read_line(int fd, char *line, size_t size)
{
    size_t length = 0;
    while (length + 1 < size && read(fd, line + length, 1) == 1 && line[length] != '\n') {
        length++;
    }
    line[length] = '\0';
}

pid_t rig_hold(const char *spec, const char *size)
{
    char line[256], copy[32];
    int fd;
    (void)snprintf(copy, sizeof(copy), "%s", size);
    pid_t pid = rig_start(spec, (char *[]){"hold", copy, NULL}, &fd);
    rig_read_line(fd, line, sizeof(line));
    (void)close(fd);
    if (strncmp(line, "holding ", 8) != 0) {
        fail_msg("%s", line);
    }
    return pid;
}

void rig_kill(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

int rig_in_child(void (*body)(void *data), void *data, char *output, size_t size)
{
    int ends[2], status;
    size_t length = 0;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)dup2(ends[1], STDERR_FILENO);
        (void)signal(SIGABRT, SIG_DFL);
        (void)signal(SIGSEGV, SIG_DFL);
        body(data);
        _exit(0);
    }
    (void)close(ends[1]);
    for (ssize_t got;
         length + 1 < size && (got = read(ends[0], output + length, size - 1 - length)) > 0;) {
        length += (size_t)got;
    }
    output[length] = '\0';
    (void)close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}
