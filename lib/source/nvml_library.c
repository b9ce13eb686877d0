/* SPDX-License-Identifier: MIT */
/* Finds libnvidia-ml.so.1, loads it, and looks its functions up. */
#include "lib/source/nvml.h"

#include "common/nvml_places.h"
#include "common/text.h"
#include "lib/source/loading.h"

#include <dlfcn.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SONAME "libnvidia-ml.so.1"

struct function {
    size_t offset, name_offset;
    bool required;
    const char *names[3];
};

static const struct function functions[] = {
#define NVML_ROW(field, parameters, is_required, ...)                                              \
    {offsetof(struct nvml_api, field),                                                             \
     offsetof(struct nvml_api, names.field),                                                       \
     is_required,                                                                                  \
     {__VA_ARGS__}},
    NVML_FUNCTIONS(NVML_ROW)
#undef NVML_ROW
};

nvml_ret nvml_code(nvml_ret code)
{
    return code < 0 ? NVML_UNKNOWN : code;
}

const char *nvml_return_text(nvml_ret code)
{
    switch (code) {
#define NVML_TEXT(value, name, text)                                                               \
    case value:                                                                                    \
        return text;
        NVML_RETURNS(NVML_TEXT)
#undef NVML_TEXT
    default:
        return "a code that this version does not know";
    }
}

const char *nvml_return_word(nvml_ret code)
{
    static const struct {
        nvml_ret code;
        const char *word;
    } words[] = {
        {NVML_UNINITIALIZED, "uninitialized"},
        {NVML_INVALID_ARGUMENT, "invalid_argument"},
        {NVML_NOT_SUPPORTED, "not_supported"},
        {NVML_NO_PERMISSION, "no_permission"},
        {NVML_NOT_FOUND, "not_found"},
        {NVML_INSUFFICIENT_SIZE, "insufficient_size"},
        {NVML_DRIVER_NOT_LOADED, "driver_not_loaded"},
        {NVML_TIMEOUT, "timeout"},
        {NVML_FUNCTION_NOT_FOUND, "function_not_found"},
        {NVML_GPU_IS_LOST, "gpu_is_lost"},
        {NVML_RESET_REQUIRED, "reset_required"},
        {NVML_OPERATING_SYSTEM, "operating_system"},
        {NVML_LIB_RM_VERSION_MISMATCH, "version_mismatch"},
        {NVML_IN_USE, "in_use"},
        {NVML_MEMORY, "memory"},
        {NVML_NO_DATA, "no_data"},
        {NVML_INSUFFICIENT_RESOURCES, "insufficient_resources"},
        {NVML_ARGUMENT_VERSION_MISMATCH, "argument_version_mismatch"},
        {NVML_NOT_READY, "not_ready"},
        {NVML_GPU_NOT_FOUND, "gpu_not_found"},
        {NVML_INVALID_STATE, "invalid_state"},
        {NVML_UNKNOWN, "unknown_error"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
        if (words[i].code == code) {
            return words[i].word;
        }
    }
    return "driver_error";
}

/* Loads one file. Keeps in `broken` what the loader says of a file that is there and does not load. */
static void *load(const char *path, char *broken, size_t size)
{
    void *library = loading_open(path);
    if (!library) {
        const char *text = dlerror();
        if (text && !strstr(text, "No such file")) {
            (void)text_copy(broken, size, text);
        }
    }
    return library;
}

static void *search_places(const char *root, char *broken, size_t size)
{
    void *library = NULL;
    for (size_t i = 0; !library && nvml_places[i]; i++) {
        char pattern[512];
        int length = snprintf(pattern, sizeof(pattern), "%s%s", root, nvml_places[i]);
        glob_t found;
        if (length < 0 || (size_t)length >= sizeof(pattern) ||
            glob(pattern, GLOB_NOSORT, NULL, &found) != 0) {
            continue;
        }
        for (size_t j = 0; !library && j < found.gl_pathc; j++) {
            library = load(found.gl_pathv[j], broken, size);
        }
        globfree(&found);
    }
    return library;
}

/* The one way to the library. Under a substituted root the machine's own must not be found. */
static int find(struct nvml_api *api, const struct source_config *config, struct err *err)
{
    char broken[256] = "";
    if (config->path) {
        api->library = load(config->path, broken, sizeof(broken));
    } else {
        if (config->root[0] == '\0') {
            api->library = load(SONAME, broken, sizeof(broken));
        }
        if (!api->library) {
            api->library = search_places(config->root, broken, sizeof(broken));
        }
    }
    if (api->library) {
        return 0;
    }
    if (broken[0]) {
        return err_set(err, -ENODEV, "library_broken", "the driver's library does not load: %s",
                       broken);
    }
    if (config->path) {
        return err_set(err, -ENODEV, "library_not_found", "there is no driver library at %s",
                       config->path);
    }
    return err_set(err, -ENODEV, "library_not_found",
                   "the NVIDIA driver's library (%s) was not found", SONAME);
}

static void *look_up(void *library, const struct function *function, const char **ret_name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(function->names) && function->names[i]; i++) {
        void *symbol = dlsym(library, function->names[i]);
        if (symbol) {
            *ret_name = function->names[i];
            return symbol;
        }
    }
    return NULL;
}

/* The file behind the library, as the loader has it: an interposer would show here. */
static void note_path(struct nvml_api *api, void *symbol)
{
    Dl_info info;
    if (dladdr(symbol, &info) && info.dli_fname) {
        (void)text_copy(api->path, sizeof(api->path), info.dli_fname);
    }
}

/* nvitop's rule: these drivers export the confidential-computing query but not yet the detail list. */
static bool has_entries_of_32(const struct nvml_api *api)
{
    return api->compute_v3 && dlsym(api->library, "nvmlDeviceGetConfComputeMemSizeInfo") &&
           !dlsym(api->library, "nvmlDeviceGetRunningProcessDetailList");
}

/* The old and the new way to count must not be mixed: the old one leaves out GPUs that the caller may not
 * open, so that its index 1 may be the new one's 2. */
static bool counts_match(const struct nvml_api *api)
{
    return !strstr(api->names.device_count, "_v2") == !strstr(api->names.by_index, "_v2");
}

int nvml_load(struct nvml_api *api, const struct source_config *config, struct err *err)
{
    *api = (struct nvml_api){0};
    int r = find(api, config, err);
    if (r < 0) {
        return r;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(functions); i++) {
        const struct function *function = &functions[i];
        const char *name = NULL;
        void *symbol = look_up(api->library, function, &name);
        if (!symbol && function->required) {
            r = err_set(err, -ENODEV, "library_broken", "the driver's library has no %s",
                        function->names[0]);
            nvml_unload(api);
            return r;
        }
        memcpy((char *)api + function->offset, &symbol, sizeof(symbol));
        memcpy((char *)api + function->name_offset, &name, sizeof(name));
        if (i == 0) {
            note_path(api, symbol);
        }
    }
    if (!counts_match(api)) {
        r = err_set(err, -ENODEV, "library_broken",
                    "the driver's library mixes generations: %s beside %s", api->names.device_count,
                    api->names.by_index);
        nvml_unload(api);
        return r;
    }
    api->entries_of_32 = has_entries_of_32(api);
    return 0;
}

void nvml_unload(struct nvml_api *api)
{
    if (api->library) {
        (void)dlclose(api->library);
    }
    *api = (struct nvml_api){0};
}
