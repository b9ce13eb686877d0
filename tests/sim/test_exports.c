/* SPDX-License-Identifier: MIT */
/* Each generation's library exports exactly what the table of functions says. */
#include "tests/sim/rig.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ALL_V3_LISTS_ARE_MISSING 535098u

static const struct {
    const char *name;
    uint32_t first;
    bool hole;
} functions[] = {
#define FUNCTION(name, first) {#name, first, false},
#define FUNCTION_WITH_HOLE(name, first) {#name, first, true},
#include "sim/functions.def"
#undef FUNCTION
#undef FUNCTION_WITH_HOLE
};

static bool is_exported(size_t function, uint32_t release)
{
    return functions[function].first <= release &&
           !(functions[function].hole && release == ALL_V3_LISTS_ARE_MISSING);
}

static void test_exports__are_those_of_the_table(void **state)
{
    (void)state;
    for (size_t g = 0; rig_generations[g]; g++) {
        struct rig *rig = rig_load(rig_generations[g]);
        uint32_t release = rig_release(rig_generations[g]);
        for (size_t f = 0; f < ARRAY_LENGTH(functions); f++) {
            bool found = dlsym(rig->library, functions[f].name) != NULL;
            if (found != is_exported(f, release)) {
                fail_msg("%s: %s is %s", rig_generations[g], functions[f].name,
                         found ? "there" : "missing");
            }
        }
        rig_close(rig);
    }
}

static bool is_known(const char *name)
{
    bool known = strcmp(name, "vram_sim_select") == 0 || strcmp(name, "vram_sim_error") == 0;
    for (size_t f = 0; !known && f < ARRAY_LENGTH(functions); f++) {
        known = strcmp(name, functions[f].name) == 0;
    }
    return known;
}

static const Elf64_Shdr *find_section(const char *file, uint32_t type)
{
    const Elf64_Ehdr *header = (const void *)file;
    const Elf64_Shdr *sections = (const void *)(file + header->e_shoff);
    for (unsigned i = 0; i < header->e_shnum; i++) {
        if (sections[i].sh_type == type) {
            return &sections[i];
        }
    }
    fail_msg("no section of type %u", type);
    return NULL;
}

/* Every symbol that the file defines for others. */
static void check_symbols(const char *generation, const char *file)
{
    const Elf64_Ehdr *header = (const void *)file;
    const Elf64_Shdr *sections = (const void *)(file + header->e_shoff);
    const Elf64_Shdr *symbols = find_section(file, SHT_DYNSYM);
    const char *names = file + sections[symbols->sh_link].sh_offset;
    const Elf64_Sym *symbol = (const void *)(file + symbols->sh_offset);
    size_t defined = 0;
    for (size_t i = 0; i < symbols->sh_size / sizeof(*symbol); i++) {
        const char *name = names + symbol[i].st_name;
        if (symbol[i].st_shndx == SHN_UNDEF || ELF64_ST_BIND(symbol[i].st_info) == STB_LOCAL) {
            continue;
        }
        defined++;
        /* A sanitizer's own symbols come with it. */
        if (!is_known(name) && strncmp(name, "__", 2) != 0) {
            fail_msg("%s exports %s", generation, name);
        }
    }
    assert_true(defined > 50);
}

static void test_exports__are_nothing_else(void **state)
{
    (void)state;
    for (size_t g = 0; rig_generations[g]; g++) {
        char path[512];
        struct stat status;
        (void)snprintf(path, sizeof(path), "%s/%s/libnvidia-ml.so.1", getenv("VRAM_SIM_DIR"),
                       rig_generations[g]);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0 && fstat(fd, &status) == 0);
        void *file = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        assert_true(file != MAP_FAILED);
        (void)close(fd);
        check_symbols(rig_generations[g], file);
        (void)munmap(file, (size_t)status.st_size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_exports__are_those_of_the_table),
        TEST(test_exports__are_nothing_else),
    };
    return cmocka_run_group_tests(tests, rig_group_set_up, rig_group_tear_down);
}
