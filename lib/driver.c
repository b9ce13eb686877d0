/* SPDX-License-Identifier: MIT */
#include "lib/driver.h"

#include "common/sim_name.h"
#include "common/text.h"
#include "lib/source/source.h"
#include <ctype.h>
#include <dirent.h>
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

/* ---- Generations ----------------------------------------------------------------------------- */

/* A driver version as one number: 535.54.03 is 535054. What stands behind the second dot tells no generations
 * apart. Accepts the names of generations too: r535_54. */
static bool version_number(const char *text, unsigned *ret_number)
{
    unsigned major, minor = 0;
    char separator;
    int fields = sscanf(text, "%u%c%u", &major, &separator, &minor);
    if (fields < 1 || major > 100000 ||
        (fields > 1 && separator != '.' && separator != '_' &&
         !isspace((unsigned char)separator))) {
        return false;
    }
    *ret_number = major * 1000 + (fields == 3 && minor < 1000 ? minor : 0);
    return true;
}

/* The newest generation that is not newer than the version; the oldest where all are. */
static int find_generation(unsigned version, char *name, size_t size)
{
    unsigned best = 0, oldest = UINT32_MAX;
    DIR *directory = opendir(sim_directory());
    if (!directory) {
        return -errno;
    }
    name[0] = '\0';
    for (struct dirent *entry; (entry = readdir(directory));) {
        unsigned number;
        if (entry->d_name[0] != 'r' || strpbrk(entry->d_name, ".") ||
            !version_number(entry->d_name + 1, &number)) {
            continue;
        }
        bool better = number <= version && number >= best;
        bool stopgap = best == 0 && number > version && number < oldest;
        if (better || stopgap) {
            best = better ? number : best;
            oldest = stopgap ? number : oldest;
            (void)text_copy(name, size, entry->d_name);
        }
    }
    (void)closedir(directory);
    return name[0] ? 0 : -ENOENT;
}

/* The version in a scenario's first line, "driver 550.54.14". */
static int scenario_version(const char *path, unsigned *ret_version)
{
    char line[256], version[64];
    FILE *file = fopen(path, "re");
    if (!file) {
        return -errno;
    }
    int r = -EINVAL;
    while (r == -EINVAL && fgets(line, sizeof(line), file)) {
        const char *word = line + strspn(line, " \t");
        if (sscanf(word, "driver %63s", version) == 1 && version_number(version, ret_version)) {
            r = 0;
        } else if (word[0] != '#' && word[0] != '\n') {
            break;
        }
    }
    (void)fclose(file);
    return r;
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
    int r = scenario_version(scenario, &version);
    if (r == -EINVAL) {
        return err_set(err, -EINVAL, "bad_simulation",
                       "%s does not begin with a line 'driver VERSION'", scenario);
    }
    if (r < 0) {
        return err_set(err, -ENOENT, "no_such_simulation",
                       "there is no simulated machine '%s': %s: %s", spec, scenario, strerror(-r));
    }
    r = find_generation(version, name, size);
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
