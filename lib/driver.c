/* SPDX-License-Identifier: MIT */
#include "lib/driver.h"

#include "common/sim_generation.h"
#include "common/sim_name.h"
#include "common/text.h"
#include "lib/source/source.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIM_LIBRARY "libnvidia-ml.so.1"

static const char *sim_directory(void)
{
    const char *directory = secure_getenv("VRAM_SIM_DIR");
    return directory && directory[0] ? directory : VRAM_SIM_DIR;
}

/* ---- "sim:" ---------------------------------------------------------------------------------- */

/* The scenario file of NAME[@INSTANCE]: a file where there is a slash in it, else a profile. */
static int scenario_path(const char *spec, char *path, size_t size)
{
    struct sim_name name = sim_name_split(spec);
    if (name.length >= size) {
        return -ENAMETOOLONG;
    }
    int length = (int)name.length;
    int n = name.is_path
                ? snprintf(path, size, "%.*s", length, spec)
                : snprintf(path, size, "%s/profiles/%.*s.scenario", sim_directory(), length, spec);
    return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static int choose_generation(const char *spec, size_t prefix, const char *scenario, char *name,
                             size_t size, struct err *err)
{
    unsigned version = 0;
    if (prefix) {
        (void)text_copy_n(name, size, spec, prefix - 1);
        return 0;
    }
    int r = sim_generation_of_scenario(scenario, &version);
    if (r == -EINVAL) {
        return err_set(err, -EINVAL, "bad_simulation",
                       "%s does not begin with a line 'driver VERSION'", scenario);
    }
    if (r < 0) {
        return err_set(err, -ENOENT, "no_such_simulation",
                       "there is no simulated machine '%s': %s: %s", spec, scenario, strerror(-r));
    }
    r = sim_generation_find(sim_directory(), version, name, size);
    return r < 0 ? err_set(err, -ENOENT, "no_simulation",
                           "the simulated driver is not installed in %s", sim_directory())
                 : 0;
}

static int parse_simulation(struct driver *driver, const char *spec, struct err *err)
{
    char scenario[512], generation[64], path[512];
    size_t prefix = sim_name_generation(spec);
    if (!spec[prefix] || scenario_path(spec + prefix, scenario, sizeof(scenario)) < 0) {
        return err_set(err, -EINVAL, "bad_driver", "'sim:%s' names no simulated machine", spec);
    }
    int r = choose_generation(spec, prefix, scenario, generation, sizeof(generation), err);
    if (r < 0) {
        return r;
    }
    int n = snprintf(path, sizeof(path), "%s/%s/" SIM_LIBRARY, sim_directory(), generation);
    if (n < 0 || (size_t)n >= sizeof(path) || access(path, R_OK) != 0) {
        return err_set(err, -ENOENT, "no_simulation", "there is no simulated driver at %s", path);
    }
    driver->path = strdup(path);
    driver->simulation = strdup(spec + prefix);
    return driver->path && driver->simulation ? 0 : err_no_memory(err);
}

int driver_parse(struct driver *ret_driver, const char *text, struct err *err)
{
    struct driver driver = {.ops = &nvml_source};
    int r = 0;
    if (strncmp(text, "sim:", 4) == 0) {
        r = parse_simulation(&driver, text + 4, err);
    } else if (strncmp(text, "nvml:", 5) == 0 && text[5]) {
        driver.path = strdup(text + 5);
        r = driver.path ? 0 : err_no_memory(err);
    } else if (strcmp(text, "auto") != 0 && strcmp(text, "nvml") != 0) {
        r = err_set(err, -EINVAL, "bad_driver",
                    "'%.64s' is not a driver; use auto, nvml, nvml:/path/to/library or sim:NAME",
                    text);
    }
    if (r < 0) {
        driver_done(&driver);
        return r;
    }
    *ret_driver = driver;
    return 0;
}

void driver_done(struct driver *driver)
{
    free(driver->path);
    free(driver->simulation);
    *driver = (struct driver){0};
}
