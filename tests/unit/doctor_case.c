/* SPDX-License-Identifier: MIT */
#include "tests/unit/doctor_case.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB_BYTES ((uint64_t)1 << 20)

static struct doctor_case *current; /* whose environment is asked for; NULL: none is open */

static const char *case_env(const char *name)
{
    for (size_t i = 0; i < current->env_count; i++) {
        if (strcmp(current->env[i][0], name) == 0) {
            return current->env[i][1];
        }
    }
    return NULL;
}

/* ---- Words ----------------------------------------------------------------------------------- */

/* Takes the next word off a line; the last argument of a statement is the rest of the line instead.
 */
static char *next_word(char **line)
{
    char *word = *line + strspn(*line, " ");
    char *end = word + strcspn(word, " ");
    *line = *end ? end + 1 : end;
    *end = '\0';
    return word;
}

static void copy(char *to, size_t size, const char *from)
{
    if (strlen(from) >= size) {
        fail_msg("too long: %s", from);
    }
    memcpy(to, from, strlen(from) + 1);
}

/* Replaces \n, \t, \xHH and ${GID}. Returns the length. */
static size_t unescape(const char *text, char *bytes, size_t size)
{
    size_t length = 0;
    while (*text && length + 16 < size) {
        unsigned byte;
        if (strncmp(text, "${GID}", 6) == 0) {
            length += (size_t)snprintf(bytes + length, 16, "%u", (unsigned)getgid());
            text += 6;
        } else if (sscanf(text, "\\x%2x", &byte) == 1) {
            bytes[length++] = (char)byte;
            text += 4;
        } else if (text[0] == '\\' && (text[1] == 'n' || text[1] == 't')) {
            bytes[length++] = text[1] == 'n' ? '\n' : '\t';
            text += 2;
        } else {
            bytes[length++] = *text++;
        }
    }
    assert_int_equal(*text, '\0');
    return length;
}

/* ---- The machine's files --------------------------------------------------------------------- */

static void below_root(const struct doctor_case *machine, const char *path, char joined[PATH_MAX])
{
    assert_int_equal(path[0], '/');
    assert_true(snprintf(joined, PATH_MAX, "%s%s", machine->root, path) < PATH_MAX);
}

/* Joins, and makes the directories above. */
static void place(const struct doctor_case *machine, const char *path, char joined[PATH_MAX])
{
    below_root(machine, path, joined);
    for (char *slash = joined + strlen(machine->root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        if (mkdir(joined, 0755) < 0 && errno != EEXIST) {
            fail_msg("%s: %s", joined, strerror(errno));
        }
        *slash = '/';
    }
}

static void write_file(const struct doctor_case *machine, const char *path, const void *bytes,
                       size_t length)
{
    char joined[PATH_MAX];
    place(machine, path, joined);
    (void)unlink(joined);
    int fd = open(joined, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, bytes, length) != (ssize_t)length || close(fd) < 0) {
        fail_msg("%s: %s", joined, strerror(errno));
    }
}

static void write_text(const struct doctor_case *machine, const char *path, const char *text,
                       const char *end)
{
    char bytes[4096];
    size_t length = unescape(text, bytes, sizeof(bytes));
    memcpy(bytes + length, end, strlen(end));
    write_file(machine, path, bytes, length + strlen(end));
}

static void do_file(struct doctor_case *machine, char *rest)
{
    char *path = next_word(&rest);
    write_text(machine, path, rest, "\n");
}

static void do_bytes(struct doctor_case *machine, char *rest)
{
    char *path = next_word(&rest);
    write_text(machine, path, rest, "");
}

static void write_elf(const struct doctor_case *machine, const char *path, bool own)
{
    Elf64_Ehdr header = {.e_type = ET_DYN};
    memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = own ? ELFCLASS64 : ELFCLASS32;
#ifdef __aarch64__
    header.e_machine = own ? EM_AARCH64 : EM_ARM;
#else
    header.e_machine = own ? EM_X86_64 : EM_386;
#endif
    write_file(machine, path, &header, sizeof(header));
}

static void do_elf64(struct doctor_case *machine, char *rest)
{
    write_elf(machine, next_word(&rest), true);
}

static void do_elf32(struct doctor_case *machine, char *rest)
{
    write_elf(machine, next_word(&rest), false);
}

static void do_dir(struct doctor_case *machine, char *rest)
{
    char joined[PATH_MAX];
    place(machine, next_word(&rest), joined);
    assert_true(mkdir(joined, 0755) == 0 || errno == EEXIST);
}

static void do_link(struct doctor_case *machine, char *rest)
{
    char joined[PATH_MAX];
    place(machine, next_word(&rest), joined);
    (void)unlink(joined);
    assert_int_equal(symlink(next_word(&rest), joined), 0);
}

static void do_mode(struct doctor_case *machine, char *rest)
{
    char joined[PATH_MAX];
    below_root(machine, next_word(&rest), joined);
    assert_int_equal(chmod(joined, (mode_t)strtoul(next_word(&rest), NULL, 8)), 0);
}

static void do_remove(struct doctor_case *machine, char *rest)
{
    char joined[PATH_MAX];
    below_root(machine, next_word(&rest), joined);
    remove_tree(joined);
}

static void do_process(struct doctor_case *machine, char *rest)
{
    char path[64], text[256];
    char *pid = next_word(&rest);
    (void)snprintf(path, sizeof(path), "/proc/%s/stat", pid);
    (void)snprintf(text, sizeof(text),
                   "%s (%s) S 1 1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 5000 0 0", pid, rest);
    write_text(machine, path, text, "\n");
    (void)snprintf(path, sizeof(path), "/proc/%s/comm", pid);
    write_text(machine, path, rest, "\n");
    (void)snprintf(path, sizeof(path), "/proc/%s/status", pid);
    write_text(machine, path, "Name:\\tx\\nUid:\\t1000\\t1000\\t1000\\t1000", "\n");
}

/* ---- The driver's answers -------------------------------------------------------------------- */

static struct source_gpu *last_gpu(struct doctor_case *machine)
{
    assert_true(machine->board.count > 0);
    return machine->board.entries[machine->board.count - 1].report->gpus;
}

static void do_env(struct doctor_case *machine, char *rest)
{
    char *value = strchr(rest, '=');
    assert_non_null(value);
    assert_true(machine->env_count < 16);
    *value++ = '\0';
    copy(machine->env[machine->env_count][0], 256, rest);
    copy(machine->env[machine->env_count++][1], 256, value);
}

static void do_library(struct doctor_case *machine, char *rest)
{
    char joined[PATH_MAX];
    below_root(machine, rest, joined);
    copy(machine->library, sizeof(machine->library), joined);
}

static void do_simulation(struct doctor_case *machine, char *rest)
{
    copy(machine->simulation, sizeof(machine->simulation), rest);
}

static void do_start(struct doctor_case *machine, char *rest)
{
    char *code = next_word(&rest);
    int result = (int)strtol(next_word(&rest), NULL, 10);
    int driver_code = (int)strtol(next_word(&rest), NULL, 10);
    machine->has_start = true;
    assert_int_equal(err_set(&machine->start, result, code, "%s", rest), result);
    machine->start.driver_code = driver_code;
}

static void do_daemon(struct doctor_case *machine, char *rest)
{
    (void)unescape(next_word(&rest), machine->socket, sizeof(machine->socket));
    machine->daemon.socket = machine->socket;
    machine->daemon.expected = strcmp(rest, "own") != 0;
}

static void do_answers(struct doctor_case *machine, char *rest)
{
    machine->daemon.gpu_count = strtoul(rest, NULL, 10);
}

static void do_drained(struct doctor_case *machine, char *rest)
{
    struct doctor_daemon *daemon = &machine->daemon;
    while (*rest) {
        assert_true(daemon->drained_count < DOCTOR_DRAINED_MAX);
        copy(daemon->drained[daemon->drained_count++], GPU_NAME_LABEL_MAX, next_word(&rest));
    }
}

static void do_refuses(struct doctor_case *machine, char *rest)
{
    char *code = next_word(&rest);
    int result = (int)strtol(next_word(&rest), NULL, 10);
    assert_int_equal(err_set(&machine->daemon_trouble, result, code, "%s", rest), result);
    machine->daemon.trouble = &machine->daemon_trouble;
}

static void do_driver(struct doctor_case *machine, char *rest)
{
    machine->has_driver = true;
    copy(machine->board.identity.version, sizeof(machine->board.identity.version), rest);
    copy(machine->board.identity.kind, sizeof(machine->board.identity.kind), "nvml");
}

static void set_number(struct source_gpu *gpu, const char *key, const char *value)
{
    uint64_t mib = strtoull(value, NULL, 10) * MIB_BYTES;
    if (strcmp(key, "total") == 0) {
        gpu->total_bytes = mib;
    } else if (strcmp(key, "used") == 0) {
        gpu->used_bytes = mib;
    } else if (strcmp(key, "free") == 0) {
        gpu->free_bytes = mib;
    } else if (strcmp(key, "reserved") == 0) {
        gpu->driver_reserved_bytes = mib;
    } else if (strcmp(key, "mig") == 0) {
        gpu->mig_index = strtoull(value, NULL, 10);
        gpu->memory_kind = VRAM_MEMORY_MIG;
    } else {
        fail_msg("a GPU has no %s", key);
    }
}

static void set_word(struct board_entry *entry, const char *word)
{
    struct source_gpu *gpu = entry->report->gpus;
    if (strcmp(word, "old") == 0) {
        gpu->used_includes_reserved = true;
    } else if (strcmp(word, "unlisted") == 0) {
        gpu->processes_known = false;
    } else if (strcmp(word, "hung") == 0) {
        entry->hung = true;
        entry->hung_call = "nvmlDeviceGetMemoryInfo_v2";
    } else {
        fail_msg("a GPU cannot be %s", word);
    }
}

static void set_state(struct source_gpu *gpu, const char *value)
{
    for (gpu->state = 0; strcmp(vram_gpu_state_name(gpu->state), value) != 0; gpu->state++) {
        assert_true(gpu->state < VRAM_GPU_HUNG);
    }
}

static void set_property(struct board_entry *entry, const char *key, const char *value)
{
    struct source_gpu *gpu = entry->report->gpus;
    if (!value) {
        set_word(entry, key);
    } else if (strcmp(key, "state") == 0) {
        set_state(gpu, value);
    } else if (strcmp(key, "kind") == 0) {
        assert_string_equal(value, "unified");
        gpu->memory_kind = VRAM_MEMORY_UNIFIED;
    } else if (strcmp(key, "pci") == 0) {
        copy(gpu->pci, sizeof(gpu->pci), value);
    } else {
        set_number(gpu, key, value);
    }
}

static void do_gpu(struct doctor_case *machine, char *rest)
{
    struct board *board = &machine->board;
    struct board_entry *entries = realloc(board->entries, (board->count + 1) * sizeof(*entries));
    struct source_gpu *gpu = calloc(1, sizeof(*gpu));
    struct report *report = gpu ? report_new(gpu, 1, 0) : NULL;
    assert_true(entries && report);
    source_gpu_init(gpu);
    gpu->index = (uint32_t)board->count;
    gpu->processes_known = true;
    (void)snprintf(gpu->uuid, sizeof(gpu->uuid), "GPU-%08zx-1111-2222-3333-444444444444",
                   board->count);
    board->entries = entries;
    entries[board->count] = (struct board_entry){.report = report};
    for (rest += strspn(rest, " "); *rest && strncmp(rest, "name=", 5) != 0;) {
        char *key = next_word(&rest);
        char *value = strchr(key, '=');
        if (value) {
            *value++ = '\0';
        }
        set_property(&entries[board->count], key, value);
    }
    copy(gpu->name, sizeof(gpu->name), *rest ? rest + 5 : "");
    board->count++;
}

static void do_holds(struct doctor_case *machine, char *rest)
{
    struct source_gpu *gpu = last_gpu(machine);
    struct source_process *processes =
        realloc(gpu->processes, (gpu->process_count + 1) * sizeof(*processes));
    assert_non_null(processes);
    uint32_t pid = (uint32_t)strtoul(next_word(&rest), NULL, 10);
    processes[gpu->process_count++] = (struct source_process){
        .pid = pid,
        .kind = VRAM_PROCESS_COMPUTE,
        .used_bytes =
            strcmp(rest, "unknown") == 0 ? VRAM_UNKNOWN : strtoull(rest, NULL, 10) * MIB_BYTES,
    };
    gpu->processes = processes;
}

static void do_trouble(struct doctor_case *machine, char *rest)
{
    /* The words stay the machine's as long as the test runs: the library keeps only pointers to
     * them. */
    static char words[MOST_STATEMENTS][2][32];
    static size_t count;
    char(*pair)[32] = words[count++ % MOST_STATEMENTS];
    copy(pair[0], sizeof(pair[0]), next_word(&rest));
    copy(pair[1], sizeof(pair[1]), next_word(&rest));
    source_gpu_problem(last_gpu(machine), pair[0], pair[1], "%s", rest);
}

/* ---- What is expected ------------------------------------------------------------------------ */

static struct doctor_expectation *expect(struct doctor_case *machine)
{
    assert_true(machine->expectation_count < MOST_STATEMENTS);
    return &machine->expectations[machine->expectation_count++];
}

static void do_expect(struct doctor_case *machine, char *rest)
{
    struct doctor_expectation *expectation = expect(machine);
    copy(expectation->id, sizeof(expectation->id), next_word(&rest));
    if (strcmp(rest, "problem") == 0) {
        expectation->severity = VRAM_FINDING_PROBLEM;
    } else if (strcmp(rest, "note") == 0) {
        expectation->severity = VRAM_FINDING_NOTE;
    } else if (strcmp(rest, "good") == 0) {
        expectation->severity = VRAM_FINDING_GOOD;
    } else {
        fail_msg("a finding is not %s", rest);
    }
}

static void add_part(struct doctor_expectation *expectation, const char *kind, const char *text)
{
    assert_true(expectation->part_count < 16);
    copy(expectation->parts[expectation->part_count].kind, 12, kind);
    copy(expectation->parts[expectation->part_count++].text, 256, text);
}

static void do_cause(struct doctor_case *machine, char *rest)
{
    add_part(&machine->expectations[machine->expectation_count - 1], "cause", rest);
}

static void do_evidence(struct doctor_case *machine, char *rest)
{
    add_part(&machine->expectations[machine->expectation_count - 1], "evidence", rest);
}

static void do_remedy(struct doctor_case *machine, char *rest)
{
    add_part(&machine->expectations[machine->expectation_count - 1], "remedy", rest);
}

static void do_fact(struct doctor_case *machine, char *rest)
{
    struct doctor_expectation *expectation = expect(machine);
    char *name = next_word(&rest);
    for (char *c = name; *c; c++) {
        *c = *c == '_' ? ' ' : *c;
    }
    add_part(expectation, "fact", name);
    add_part(expectation, "value", rest);
}

static void do_nowhere(struct doctor_case *machine, char *rest)
{
    add_part(expect(machine), "nowhere", rest);
}

/* ---- The case as a whole --------------------------------------------------------------------- */

static void read_part(struct doctor_case *machine, const char *name);

static void do_include(struct doctor_case *machine, char *rest)
{
    read_part(machine, rest);
}

static const struct statement {
    const char *word;
    void (*act)(struct doctor_case *machine, char *rest);
} statements[] = {
    {"include", do_include},
    {"file", do_file},
    {"bytes", do_bytes},
    {"elf64", do_elf64},
    {"elf32", do_elf32},
    {"dir", do_dir},
    {"link", do_link},
    {"mode", do_mode},
    {"remove", do_remove},
    {"process", do_process},
    {"env", do_env},
    {"library", do_library},
    {"simulation", do_simulation},
    {"start", do_start},
    {"daemon", do_daemon},
    {"answers", do_answers},
    {"drained", do_drained},
    {"refuses", do_refuses},
    {"driver", do_driver},
    {"gpu", do_gpu},
    {"holds", do_holds},
    {"trouble", do_trouble},
    {"expect", do_expect},
    {"cause", do_cause},
    {"evidence", do_evidence},
    {"remedy", do_remedy},
    {"fact", do_fact},
    {"nowhere", do_nowhere},
};

static void act(struct doctor_case *machine, const char *name, char *line)
{
    const char *word = next_word(&line);
    for (size_t i = 0; i < ARRAY_LENGTH(statements); i++) {
        if (strcmp(statements[i].word, word) == 0) {
            statements[i].act(machine, line);
            return;
        }
    }
    fail_msg("%s: '%s' is not a statement", name, word);
}

static void read_part(struct doctor_case *machine, const char *name)
{
    char path[PATH_MAX], line[2048];
    (void)snprintf(path, sizeof(path), "%s/%s", machine->directory, name);
    FILE *file = fopen(path, "re");
    if (!file) {
        fail_msg("%s: %s", path, strerror(errno));
    }
    while (fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] && line[0] != '#') {
            act(machine, name, line);
        }
    }
    (void)fclose(file);
}

static void build_snapshot(struct doctor_case *machine)
{
    struct identities *identities = identities_new(machine->root);
    assert_non_null(identities);
    assert_int_equal(snapshot_build(&machine->board, identities, VRAM_TAKE_ALL, 1, 1000000000,
                                    &machine->snapshot),
                     0);
    identities_free(identities);
}

struct doctor_case *doctor_case_open(const char *directory, const char *name)
{
    const char *temporary = getenv("TMPDIR");
    struct doctor_case *machine = calloc(1, sizeof(*machine));
    assert_non_null(machine);
    copy(machine->directory, sizeof(machine->directory), directory);
    (void)snprintf(machine->root, sizeof(machine->root), "%s/vram-doctor-XXXXXX",
                   temporary ? temporary : "/tmp");
    assert_non_null(mkdtemp(machine->root));
    current = machine;
    read_part(machine, name);
    if (machine->has_driver) {
        build_snapshot(machine);
    }
    machine->scene = (struct doctor_scene){
        .root = machine->root,
        .env = case_env,
        .start = machine->has_start ? &machine->start : NULL,
        .snapshot = machine->snapshot,
        .library = machine->library[0] ? machine->library : NULL,
        .simulation = machine->simulation[0] ? machine->simulation : NULL,
        .daemon = machine->daemon,
    };
    return machine;
}

void doctor_case_close(struct doctor_case *machine)
{
    (void)vram_snapshot_unref(machine->snapshot);
    board_done(&machine->board);
    remove_tree(machine->root);
    free(machine);
    current = NULL;
}

int doctor_case_clean_up(void **state)
{
    (void)state;
    if (current) {
        doctor_case_close(current);
    }
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

void remove_tree(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
