/* SPDX-License-Identifier: MIT */
/* The driver's library: where it is, whether it is the right one, who stands before it: D02, D03,
 * D09, D30. */
#include "common/nvml_places.h"
#include "lib/doctor/exam.h"

#include "common/path.h"
#include "lib/doctor/lines.h"
#include "lib/source/source.h"
#include <elf.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>

#define SONAME "libnvidia-ml.so.1"
#define STEM "libnvidia-ml.so."
#define MOST_LINKS 8

#if defined(__x86_64__)
#define OWN_MACHINE EM_X86_64
#define OWN_TRIPLET "x86_64-linux-gnu"
#elif defined(__aarch64__)
#define OWN_MACHINE EM_AARCH64
#define OWN_TRIPLET "aarch64-linux-gnu"
#else
#error "the NVIDIA driver has no library for this kind of machine"
#endif

/* ---- Finding it ------------------------------------------------------------------------------ */

/* A library that this program could load: 64 bits, this kind of processor. */
static bool is_loadable(const char *root, const char *path)
{
    char text[sizeof(Elf64_Ehdr) + 1];
    Elf64_Ehdr header;
    if (path_read(root, path, text, sizeof(text)) != (int)sizeof(header)) {
        return false;
    }
    memcpy(&header, text, sizeof(header));
    return memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 && header.e_ident[EI_CLASS] == ELFCLASS64 &&
           header.e_machine == OWN_MACHINE;
}

static void remember(char slot[256], const char *path)
{
    if (!slot[0]) {
        (void)snprintf(slot, 256, "%.255s", path);
    }
}

/* Sorts one candidate into its slot; the first of each kind stays. */
static void consider(const char *root, const char *path, struct driver_library *library)
{
    struct stat st;
    if (lines_stat(root, path, &st) < 0 || !S_ISREG(st.st_mode)) {
        return;
    }
    if (strstr(path, "/stubs/")) {
        remember(library->stub, path);
    } else if (is_loadable(root, path)) {
        remember(library->path, path);
    } else {
        remember(library->foreign, path);
    }
}

static void search_environment(const struct doctor_scene *scene, struct driver_library *library)
{
    const char *list = scene->env("LD_LIBRARY_PATH");
    while (list && *list) {
        size_t length = strcspn(list, ":");
        char path[PATH_TEXT_MAX];
        int n =
            snprintf(path, sizeof(path), "%.*s/" SONAME, (int)(length < 400 ? length : 400), list);
        if (list[0] == '/' && length < 400 && n > 0) {
            consider(scene->root, path, library);
        }
        list += length + (list[length] == ':');
    }
}

/* The loader's cache is a table of offsets and then its texts, each ended by a NUL: the texts will
 * do. */
static void search_cache(const char *root, struct driver_library *library)
{
    struct lines lines;
    if (lines_open(&lines, root, "/etc/ld.so.cache") < 0) {
        return;
    }
    for (const char *line; (line = lines_next(&lines));) {
        const char *end = strstr(line, "/" SONAME);
        if (line[0] == '/' && end && strcmp(end, "/" SONAME) == 0) {
            if (path_exists(root, line)) {
                consider(root, line, library);
            } else {
                remember(library->gone, line);
            }
        }
    }
    lines_close(&lines);
}

static void search_places(const char *root, struct driver_library *library)
{
    size_t prefix = strlen(root);
    for (size_t i = 0; nvml_places[i]; i++) {
        char pattern[PATH_TEXT_MAX];
        glob_t found;
        int length = snprintf(pattern, sizeof(pattern), "%s%s", root, nvml_places[i]);
        if (length < 0 || (size_t)length >= sizeof(pattern) ||
            glob(pattern, GLOB_NOSORT, NULL, &found) != 0) {
            continue;
        }
        for (size_t j = 0; j < found.gl_pathc; j++) {
            consider(root, found.gl_pathv[j] + prefix, library);
        }
        globfree(&found);
    }
    /* Not a place to load from: where a 32-bit one alone is installed. */
    consider(root, "/usr/lib/i386-linux-gnu/" SONAME, library);
}

/* Follows links by hand, for the absolute ones are meant below the root. The last name is the
 * version's. */
static void read_version(const char *root, struct driver_library *library)
{
    char path[PATH_TEXT_MAX], target[PATH_TEXT_MAX], next[2 * PATH_TEXT_MAX];
    if (!library->path[0]) {
        return;
    }
    (void)snprintf(path, sizeof(path), "%s", library->path);
    for (int i = 0; i < MOST_LINKS && path_read_link(root, path, target, sizeof(target)) > 0; i++) {
        int directory = target[0] == '/' ? 0 : (int)(strrchr(path, '/') - path) + 1;
        int length = snprintf(next, sizeof(next), "%.*s%s", directory, path, target);
        if (length < 0 || (size_t)length >= sizeof(path)) {
            return;
        }
        memcpy(path, next, (size_t)length + 1);
    }
    const char *name = strrchr(path, '/');
    name = name && strncmp(name + 1, STEM, strlen(STEM)) == 0 ? name + 1 + strlen(STEM) : "";
    if (strchr(name, '.') && name[strspn(name, "0123456789.")] == '\0') {
        (void)snprintf(library->version, sizeof(library->version), "%.31s", name);
    }
}

void library_find(const struct doctor_scene *scene, struct driver_library *ret_library)
{
    struct driver_library library = {.path = ""};
    size_t root_length = strlen(scene->root);
    if (scene->library && strncmp(scene->library, scene->root, root_length) == 0 &&
        scene->library[root_length] == '/') {
        consider(scene->root, scene->library + root_length, &library);
    }
    search_environment(scene, &library);
    search_cache(scene->root, &library);
    search_places(scene->root, &library);
    read_version(scene->root, &library);
    *ret_library = library;
}

/* ---- D02 ------------------------------------------------------------------------------------- */

void check_library(struct exam *exam)
{
    const struct machine *machine = &exam->machine;
    const struct driver_library *library = &machine->library;
    if (library->path[0]) {
        exam_good(exam, "the driver's library%s%s is there", library->version[0] ? " " : "",
                  library->version);
        exam_evidence(exam, "%s", library->path);
        return;
    }
    if (machine->container || machine->wsl || !exam_start_failed(exam, "library_not_found") ||
        !(machine->module_loaded || machine->gpu_count)) {
        return; /* D12, D13, D22; D01 */
    }
    exam_problem(exam, "the driver's library (" SONAME ") is not installed");
    if (machine->module_loaded) {
        exam_evidence(exam, "/sys/module/nvidia/version: %s",
                      machine->module_version[0] ? machine->module_version : "not readable");
    }
    if (library->gone[0]) {
        exam_evidence(exam, "/etc/ld.so.cache names %s, which is not there", library->gone);
    } else {
        exam_evidence(exam,
                      "no " SONAME " in /etc/ld.so.cache, /usr/lib/" OWN_TRIPLET " or /usr/lib64");
    }
    if (library->foreign[0]) {
        exam_evidence(exam, "%s is not a library for this machine", library->foreign);
    }
    remedy_install_library(exam);
}

/* ---- D03 ------------------------------------------------------------------------------------- */

void check_foreign_library(struct exam *exam)
{
    const struct driver_library *library = &exam->machine.library;
    const struct err *start = exam->scene->start;
    if (exam->works || !start || (!exam_start_failed(exam, "library_broken") && library->path[0])) {
        return;
    }
    if (library->stub[0]) {
        exam_problem(exam, "LD_LIBRARY_PATH leads to the CUDA toolkit's stand-in for the driver's "
                           "library, which is for linking only");
        exam_evidence(exam, "%s", library->stub);
        exam_remedy(exam, "Take %.*s out of LD_LIBRARY_PATH.",
                    (int)(strlen(library->stub) - strlen("/" SONAME)), library->stub);
    } else if (library->foreign[0]) {
        exam_problem(exam, "the driver's library that is there is for another kind of machine");
        exam_evidence(exam, "%s is not a 64-bit library for this processor", library->foreign);
        if (exam_start_failed(exam, "library_broken")) {
            exam_evidence(exam, "%s", start->message);
        }
        exam_remedy(exam, "If it comes from LD_LIBRARY_PATH, take that directory out; else:");
        remedy_install_library(exam);
    }
}

/* ---- D09 ------------------------------------------------------------------------------------- */

static void remedy_versions(struct exam *exam)
{
    const struct machine *machine = &exam->machine;
    if (machine->container) {
        exam_remedy(exam,
                    "The driver was upgraded outside of this container: make the container anew.");
        exam_remedy(exam, "Where devices come through CDI, on the host first:");
        exam_remedy(exam, "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml");
        return;
    }
    exam_remedy(exam,
                "Restart the machine; or stop all programs that use the GPU, the desktop too (for "
                "vramd `sudo vram pause` will do, and `sudo vram resume` afterwards), then:");
    exam_remedy(exam,
                "sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia && sudo modprobe nvidia");
    if (machine->distribution == DISTRIBUTION_DEBIAN ||
        machine->distribution == DISTRIBUTION_UBUNTU) {
        exam_remedy(exam, "To choose the moment of the next upgrade yourself:");
        exam_remedy(exam, "sudo apt-mark hold 'nvidia-*' 'libnvidia-*'");
    }
}

void check_versions(struct exam *exam)
{
    const struct machine *machine = &exam->machine;
    const char *module = machine->module_version, *library = machine->library.version;
    bool differ = module[0] && library[0] && strcmp(module, library) != 0;
    if (!differ && !exam_start_failed(exam, "version_mismatch")) {
        if (module[0] && library[0]) {
            exam_good(exam, "kernel module and library are both of version %s", module);
        }
        return;
    }
    if (exam->works) {
        exam_note(exam,
                  "the driver was upgraded: what runs goes on, programs that start now may fail");
    } else {
        exam_problem(exam,
                     "the driver's library and its kernel module have different versions, most "
                     "likely since an upgrade");
    }
    exam_evidence(exam, "/sys/module/nvidia/version: %s", module[0] ? module : "not readable");
    if (machine->library.path[0]) {
        exam_evidence(exam, "%s: %s", machine->library.path,
                      library[0] ? library : "version unknown");
    }
    remedy_versions(exam);
}

/* ---- D30 ------------------------------------------------------------------------------------- */

/* Preloaded libraries are common; these words are in the names of those that stand before the
 * driver. */
static bool steps_between(const char *text)
{
    static const char *const words[] = {"gpu", "nvml", "nvidia", "cuda", "hami"};
    for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
        if (strcasestr(text, words[i])) {
            return true;
        }
    }
    return false;
}

void check_interposer(struct exam *exam)
{
    const char *library = exam->scene->library;
    const char *name = library ? strrchr(library, '/') : NULL;
    const char *preload = exam->scene->env("LD_PRELOAD");
    char file[256];
    size_t found = 0;
    if (!exam->works) {
        return; /* nothing is shown that could differ */
    }
    if (name && strncmp(name + 1, "libnvidia-ml.so", strlen("libnvidia-ml.so")) != 0) {
        exam_evidence(exam, "%s answers for libnvidia-ml.so.1", library);
        found++;
    }
    if (preload && steps_between(preload)) {
        exam_evidence(exam, "LD_PRELOAD=%.200s", preload);
        found++;
    }
    if (lines_first(exam->machine.root, "/etc/ld.so.preload", file, sizeof(file)) > 0 &&
        steps_between(file)) {
        exam_evidence(exam, "/etc/ld.so.preload: %s", file);
        found++;
    }
    if (found) {
        exam_note(exam, "another library stands before the driver's: the figures are what it says, "
                        "such as a container's share of a GPU, and may differ from nvidia-smi's");
    }
}
