/* SPDX-License-Identifier: MIT */
#include "common/endpoint.h"

#include "common/hash.h"
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYSTEM_SOCKET "/run/vram/vram.sock"
#define GRANTOR "vram-promises"
#define SUFFIX ".sock"

struct endpoint_environment endpoint_environment(void)
{
    return (struct endpoint_environment){
        .uid = geteuid(),
        .vram_socket = secure_getenv("VRAM_SOCKET"),
        .xdg_runtime_dir = secure_getenv("XDG_RUNTIME_DIR"),
        .sim_state_dir = secure_getenv("VRAM_SIM_STATE_DIR"),
    };
}

static bool is_set(const char *text)
{
    return text && text[0];
}

static int print(char *text, size_t size, const char *format, ...) PRINTF_LIKE(3, 4);
static int print(char *text, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, size, format, args);
    va_end(args);
    return length < 0 || (size_t)length >= size ? -ENAMETOOLONG : 0;
}

/* ---- Names ----------------------------------------------------------------------------------- */

/* The driver's name and the grantor's. Simulated machines are as many as there are directories of their state. */
static int name_simulation(const char *spec, const struct endpoint_environment *environment,
                           struct endpoint *endpoint, char key[SIM_NAME_KEY_MAX])
{
    char directory[512];
    struct sim_name name = sim_name_split(spec + sim_name_generation(spec));
    if (!name.length || !sim_name_is_plain(name.instance, strlen(name.instance)) ||
        (!name.is_path && !sim_name_is_plain(name.text, name.length))) {
        return -EINVAL;
    }
    (void)sim_name_key(&name, key);
    for (unsigned i = 0;
         sim_name_state_directory(i, environment->sim_state_dir, environment->xdg_runtime_dir,
                                  environment->uid, directory, sizeof(directory)) &&
         !directory[0];
         i++) {
    }
    int r = print(endpoint->driver, sizeof(endpoint->driver), "sim:%s", key);
    return r < 0 ? r
                 : print(endpoint->grantor, sizeof(endpoint->grantor), GRANTOR "-%s-%08" PRIx32,
                         key, (uint32_t)hash_text(directory));
}

static int name_driver(const char *driver, const struct endpoint_environment *environment,
                       struct endpoint *endpoint, char key[SIM_NAME_KEY_MAX])
{
    key[0] = '\0';
    if (strncmp(driver, "sim:", 4) == 0) {
        return name_simulation(driver + 4, environment, endpoint, key);
    }
    if (strcmp(driver, "auto") != 0 && strcmp(driver, "nvml") != 0 &&
        (strncmp(driver, "nvml:", 5) != 0 || !driver[5])) {
        return -EINVAL;
    }
    int r = print(endpoint->driver, sizeof(endpoint->driver), "nvml");
    return r < 0 ? r : print(endpoint->grantor, sizeof(endpoint->grantor), GRANTOR);
}

int endpoint_driver(const char *driver, char ret_name[ENDPOINT_DRIVER_MAX])
{
    const struct endpoint_environment nothing = {0};
    struct endpoint endpoint = {0};
    char key[SIM_NAME_KEY_MAX];
    int r = name_driver(driver, &nothing, &endpoint, key);
    if (r == 0) {
        memcpy(ret_name, endpoint.driver, sizeof(endpoint.driver));
    }
    return r;
}

/* ---- Places ---------------------------------------------------------------------------------- */

/* One that cannot be looked at is there, and refuses itself at the connection. */
static bool is_there(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

static int place_socket(const struct endpoint_environment *environment, const char *key,
                        struct endpoint *endpoint)
{
    char *path = endpoint->socket;
    size_t size = sizeof(endpoint->socket);
    const char *named = environment->vram_socket, *runtime = environment->xdg_runtime_dir;
    const char *system = environment->system_socket ? environment->system_socket : SYSTEM_SOCKET;
    if (is_set(named)) {
        endpoint->named = true;
        return strcmp(named, "none") == 0 ? -ENOTCONN
               : named[0] != '/'          ? -EINVAL
                                          : print(path, size, "%s", named);
    }
    if (!key[0] && is_there(system)) {
        endpoint->system = true;
        return print(path, size, "%s", system);
    }
    const char *before = key[0] ? "sim-" : "vram";
    if (is_set(runtime) && runtime[0] == '/') {
        return print(path, size, "%s/vram/%s%s" SUFFIX, runtime, before, key);
    }
    endpoint->temporary = true;
    return print(path, size, "%s/vram-%u/%s%s" SUFFIX,
                 environment->temporary_dir ? environment->temporary_dir : "/tmp",
                 (unsigned)environment->uid, before, key);
}

/* What lies beside the socket: its name with another ending. */
static int place_others(struct endpoint *endpoint)
{
    const char *path = endpoint->socket;
    size_t length = strlen(path), suffix = sizeof(SUFFIX) - 1;
    const char *slash = strrchr(path, '/');
    int parent = slash > path ? (int)(slash - path) : 1;
    int stem = length > suffix && strcmp(path + length - suffix, SUFFIX) == 0
                   ? (int)(length - suffix)
                   : (int)length;
    int r = print(endpoint->directory, sizeof(endpoint->directory), "%.*s", parent, path);
    r = r < 0 ? r : print(endpoint->lock, sizeof(endpoint->lock), "%.*s.lock", stem, path);
    r = r < 0 ? r : print(endpoint->start, sizeof(endpoint->start), "%.*s.start", stem, path);
    r = r < 0 ? r : print(endpoint->log, sizeof(endpoint->log), "%.*s.log", stem, path);
    return r < 0 ? r
                 : print(endpoint->journal, sizeof(endpoint->journal), "%.*s.journal", stem, path);
}

int endpoint_find(const char *driver, const struct endpoint_environment *environment,
                  struct endpoint *ret_endpoint)
{
    struct endpoint endpoint = {0};
    char key[SIM_NAME_KEY_MAX];
    int r = name_driver(driver, environment, &endpoint, key);
    r = r < 0 ? r : place_socket(environment, key, &endpoint);
    r = r < 0 ? r : place_others(&endpoint);
    if (r == 0) {
        *ret_endpoint = endpoint;
    }
    return r;
}

int endpoint_check(const struct endpoint *endpoint, uid_t uid)
{
    struct stat status;
    if (!endpoint->temporary) {
        return 0;
    }
    if (lstat(endpoint->directory, &status) < 0) {
        return -errno;
    }
    bool ours =
        S_ISDIR(status.st_mode) && status.st_uid == uid && !(status.st_mode & (S_IRWXG | S_IRWXO));
    return ours ? 0 : -EPERM;
}
