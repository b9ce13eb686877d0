/* SPDX-License-Identifier: MIT */
#include "sim/locate.h"

#include "common/sim_name.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX ".scenario"

_Static_assert(STATE_NAME_MAX >= SIM_NAME_KEY_MAX, "a machine's name is its state's");

/* The directory of the file that this code was loaded from, the library or vram-sim. */
static void own_directory(char *path, size_t size)
{
    static const int anchor;
    Dl_info info;
    bool library = dladdr(&anchor, &info) && info.dli_fname && strstr(info.dli_fname, ".so");
    path[0] = '\0';
    if (library) {
        (void)snprintf(path, size, "%s", info.dli_fname);
    } else {
        ssize_t length = readlink("/proc/self/exe", path, size - 1);
        path[length > 0 ? length : 0] = '\0';
    }
    char *slash = strrchr(path, '/');
    if (slash) {
        *slash = '\0';
    }
}

/* Where profiles may stand, most particular first; false behind the last. */
static bool candidate(unsigned which, char *path, size_t size)
{
    const char *chosen = getenv("VRAM_SIM_DIR");
    char own[400];
    own_directory(own, sizeof(own));
    path[0] = '\0';
    switch (which) {
    case 0:
        if (chosen && chosen[0]) {
            (void)snprintf(path, size, "%s/profiles", chosen);
        }
        return true;
    case 1: /* beside vram-sim, in a build */
        (void)snprintf(path, size, "%s/profiles", own);
        return true;
    case 2: /* beside the generation's directory */
        (void)snprintf(path, size, "%s/../profiles", own);
        return true;
    case 3:
        (void)snprintf(path, size, "%s/profiles", SIM_INSTALLED);
        return true;
    default:
        return false;
    }
}

const char *locate_profiles(char *path, size_t size)
{
    for (unsigned i = 0; candidate(i, path, size); i++) {
        char probe[600];
        (void)snprintf(probe, sizeof(probe), "%s/" LOCATE_DEFAULT SUFFIX, path);
        if (path[0] && access(probe, R_OK) == 0) {
            return path;
        }
    }
    return "";
}

/* Takes "NAME[@INSTANCE]" or "PATH[@INSTANCE]" apart. */
static int split_spec(const char *spec, struct location *location, struct complaint *complaint)
{
    struct sim_name name = sim_name_split(spec);
    if (!sim_name_is_plain(name.instance, strlen(name.instance))) {
        return complain(complaint,
                        "'%.60s': an instance's name is made of up to 40 letters, digits, '.', "
                        "'_' and '-'",
                        spec);
    }
    if (name.length == 0 || name.length >= sizeof(location->path)) {
        return complain(complaint, "'%.60s' names no profile and no file", spec);
    }
    location->persistent = name.named_instance;
    if (name.is_path) {
        memcpy(location->path, spec, name.length);
        location->path[name.length] = '\0';
        const char *leaf = strrchr(location->path, '/') + 1;
        (void)snprintf(location->title, sizeof(location->title), "%.79s", leaf);
    } else if (sim_name_is_plain(spec, name.length)) {
        memcpy(location->title, spec, name.length);
        location->title[name.length] = '\0';
    } else {
        return complain(complaint,
                        "'%.60s' is no profile's name; a file's name must have a '/' in it, as in "
                        "./my.scenario",
                        spec);
    }
    (void)sim_name_key(&name, location->state);
    return 0;
}

/* Finds the profile of that title. */
static int find_profile(struct location *location, struct complaint *complaint)
{
    char directory[512];
    for (unsigned i = 0; candidate(i, directory, sizeof(directory)); i++) {
        int length = snprintf(location->path, sizeof(location->path), "%s/%s" SUFFIX, directory,
                              location->title);
        bool fits = length > 0 && (size_t)length < sizeof(location->path);
        if (directory[0] && fits && access(location->path, F_OK) == 0) {
            (void)snprintf(location->title + strlen(location->title),
                           sizeof(location->title) - strlen(location->title), SUFFIX);
            return 0;
        }
    }
    (void)complain(complaint, "there is no profile '%s'; 'vram-sim list' names those there are",
                   location->title);
    return -ENOENT;
}

static int read_text(struct location *location, struct complaint *complaint)
{
    struct stat status;
    int fd = open(location->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &status) < 0 || S_ISDIR(status.st_mode)) {
        int r = fd < 0 ? -errno : -EISDIR;
        (void)complain(complaint, "%.160s cannot be read: %s", location->path, strerror(-r));
        if (fd >= 0) {
            (void)close(fd);
        }
        return r;
    }
    location->text = malloc(SCENARIO_TEXT_MAX + 1);
    ssize_t got = 0;
    while (location->text && location->length <= SCENARIO_TEXT_MAX) {
        got = read(fd, location->text + location->length, SCENARIO_TEXT_MAX + 1 - location->length);
        if (got <= 0) {
            break;
        }
        location->length += (size_t)got;
    }
    int r = got < 0 ? -errno : 0;
    (void)close(fd);
    if (!location->text || r < 0) {
        (void)complain(complaint, "%.160s cannot be read: %s", location->path,
                       location->text ? strerror(-r) : "out of memory");
        location_done(location);
        return r < 0 ? r : -ENOMEM;
    }
    return 0;
}

int locate(const char *spec, struct location *ret_location, struct complaint *complaint)
{
    struct location location = {0};
    int r = split_spec(spec, &location, complaint);
    if (r == 0 && !location.path[0]) {
        r = find_profile(&location, complaint);
    }
    if (r == 0) {
        r = read_text(&location, complaint);
    }
    if (r == 0) {
        *ret_location = location;
    }
    return r;
}

void location_done(struct location *location)
{
    free(location->text);
    location->text = NULL;
    location->length = 0;
}
