/* SPDX-License-Identifier: MIT */
/* Finding and loading the library of a driver that is to be read, real or simulated. */
#include "sim/reading.h"

#include "common/nvml_places.h"
#include "common/sim_generation.h"
#include "common/sim_name.h"
#include "sim/locate.h"
#include <dlfcn.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>

static int load(struct library *library, const char *path, struct complaint *complaint)
{
    Dl_info info;
    library->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library->handle) {
        const char *why = dlerror();
        (void)complain(complaint, "%.200s", why ? why : path);
        return -ENOENT;
    }
    for (unsigned i = 0; i < FUNCTION_COUNT; i++) {
        library->functions[i] = dlsym(library->handle, function_name((enum function)i));
    }
    const void *any = library->functions[FUNCTION_nvmlShutdown];
    bool known = any && dladdr(any, &info) && info.dli_fname;
    (void)snprintf(library->path, sizeof(library->path), "%s", known ? info.dli_fname : path);
    return any ? 0 : complain(complaint, "%.160s is not a driver's library", path);
}

static int load_real(struct library *library, struct complaint *complaint)
{
    int r = load(library, NVML_SONAME, complaint);
    for (size_t i = 0; r < 0 && nvml_places[i]; i++) {
        struct complaint other;
        glob_t found;
        if (glob(nvml_places[i], GLOB_NOSORT, NULL, &found) != 0) {
            continue;
        }
        for (size_t j = 0; r < 0 && j < found.gl_pathc; j++) {
            r = load(library, found.gl_pathv[j], &other);
        }
        globfree(&found);
    }
    return r;
}

/* The generation that a machine's driver is of, or the one that was named in front of it. */
static int generation_of(const char *spec, size_t prefix, const char *directory, char *name,
                         size_t size, struct complaint *complaint)
{
    struct location location;
    struct scenario scenario;
    unsigned version = 0;
    if (prefix) {
        (void)snprintf(name, size, "%.*s", (int)prefix - 1, spec);
        return 0;
    }
    int r = locate(spec, &location, complaint);
    if (r < 0) {
        return r;
    }
    r = scenario_parse(location.text, location.length, location.title, &scenario, complaint);
    location_done(&location);
    if (r < 0) {
        return r;
    }
    (void)sim_generation_number(scenario.driver, &version);
    scenario_done(&scenario);
    r = sim_generation_find(directory, version, name, size);
    return r < 0 ? complain(complaint, "no driver's library in %.160s", directory) : 0;
}

static int load_simulated(struct library *library, const char *spec, struct complaint *complaint)
{
    char directory[512], generation[64], path[700];
    size_t prefix = sim_name_generation(spec);
    if (!locate_profiles(directory, sizeof(directory))[0]) {
        return complain(complaint, "the simulated driver is not installed; VRAM_SIM_DIR can name "
                                   "where it is");
    }
    *strrchr(directory, '/') = '\0';
    int r = generation_of(spec, prefix, directory, generation, sizeof(generation), complaint);
    if (r < 0) {
        return r;
    }
    (void)snprintf(path, sizeof(path), "%s/%s/" NVML_SONAME, directory, generation);
    r = load(library, path, complaint);
    if (r < 0) {
        return r;
    }
    int (*choose)(const char *);
    const char *(*why)(void);
    *(void **)&choose = dlsym(library->handle, "vram_sim_select");
    *(void **)&why = dlsym(library->handle, "vram_sim_error");
    if (!choose || !why) {
        return complain(complaint, "%.160s is not the simulated driver", path);
    }
    r = choose(spec + prefix);
    return r < 0 ? complain(complaint, "%.200s", why()) : 0;
}

int library_load(struct library *library, const char *driver, struct complaint *complaint)
{
    *library = (struct library){.path = ""};
    if (strncmp(driver, "sim:", 4) == 0) {
        return load_simulated(library, driver + 4, complaint);
    }
    if (strncmp(driver, "nvml:", 5) == 0 && driver[5]) {
        return load(library, driver + 5, complaint);
    }
    if (strcmp(driver, "nvml") == 0 || strcmp(driver, "auto") == 0) {
        return load_real(library, complaint);
    }
    return complain(complaint,
                    "'%.64s' is not a driver; use nvml, nvml:/path/to/library or sim:NAME", driver);
}
