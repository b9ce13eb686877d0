/* SPDX-License-Identifier: MIT */
#include "sim/state.h"

#include "common/sim_name.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAGIC "vramsim\1"
#define OPEN_TRIES 100

/* The bytes that are locked; the file's content has nothing to do with them. */
enum { BYTE_USERS, BYTE_CHANGES, BYTE_SLOTS = 64 };

/* Counters must work between processes, and must not hide a lock that a killed process would keep. */
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2, "atomics without locks");

static uint64_t monotonic_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t state_now(const struct state *state)
{
    if (atomic_load_explicit(&state->virtual_clock, memory_order_relaxed)) {
        return atomic_load_explicit(&state->virtual_now, memory_order_relaxed);
    }
    uint64_t created = atomic_load_explicit(&state->created, memory_order_relaxed);
    uint64_t now = monotonic_ns();
    return now > created ? now - created : 0;
}

/* ---- Locks ------------------------------------------------------------------------------------- */

static int lock_byte(int fd, int command, short type, off_t byte)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    int r;
    do {
        r = fcntl(fd, command, &lock);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

void state_lock(const struct state_file *file)
{
    if (file->fd >= 0) {
        (void)lock_byte(file->fd, F_OFD_SETLKW, F_WRLCK, BYTE_CHANGES);
    }
}

void state_unlock(const struct state_file *file)
{
    if (file->fd >= 0) {
        (void)lock_byte(file->fd, F_OFD_SETLK, F_UNLCK, BYTE_CHANGES);
    }
}

/* A lock of the process, not of the descriptor: only these tell who has them. */
int state_claim(const struct state_file *file, size_t slot)
{
    return lock_byte(file->fd, F_SETLK, F_WRLCK, BYTE_SLOTS + (off_t)slot);
}

int state_owner(const struct state_file *file, size_t slot)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = BYTE_SLOTS + (off_t)slot, .l_len = 1};
    /* Asked in the name of the descriptor, so that the process's own locks are told too. */
    if (file->fd < 0 || fcntl(file->fd, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK) {
        return 0;
    }
    return lock.l_pid > 0 ? lock.l_pid : -1;
}

/* ---- Where ------------------------------------------------------------------------------------- */

/* Opens a directory of the user's own, made where it is missing. Another's, or a link, is refused. */
static int open_directory(const char *path)
{
    struct stat status;
    (void)mkdir(path, 0700);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &status) < 0 || status.st_uid != geteuid())) {
        (void)close(fd);
        return -EPERM;
    }
    return fd < 0 ? -errno : fd;
}

static int find_directory(char *path, size_t size)
{
    int fd = -ENOENT;
    for (unsigned i = 0;
         fd < 0 && sim_name_state_directory(i, getenv("VRAM_SIM_STATE_DIR"),
                                            getenv("XDG_RUNTIME_DIR"), geteuid(), path, size);
         i++) {
        fd = path[0] ? open_directory(path) : -ENOENT;
    }
    return fd;
}

const char *state_directory(char *path, size_t size)
{
    int fd = find_directory(path, size);
    if (fd < 0) {
        return "";
    }
    (void)close(fd);
    return path;
}

/* The instance's file, opened; it must be an ordinary one of the user's own. */
static int open_file(const char *name)
{
    char path[512], leaf[STATE_NAME_MAX + 8];
    struct stat status;
    int directory = find_directory(path, sizeof(path));
    if (directory < 0) {
        return directory;
    }
    (void)snprintf(leaf, sizeof(leaf), "%s.state", name);
    int fd = openat(directory, leaf, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    int r = fd < 0 ? -errno : 0;
    (void)close(directory);
    if (fd >= 0 &&
        (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_uid != geteuid())) {
        (void)close(fd);
        r = -EPERM;
    }
    return r < 0 ? r : fd;
}

/* ---- Content ----------------------------------------------------------------------------------- */

static bool is_sound(const struct state *state)
{
    return memcmp(state->magic, MAGIC, sizeof(state->magic)) == 0 &&
           state->layout == sizeof(*state) && state->text_length <= SCENARIO_TEXT_MAX &&
           state->created <= monotonic_ns();
}

/* Holders that live keep what they hold, from the beginning of the new time; the dead are forgotten. */
static void reset_slots(struct state *state)
{
    size_t used = atomic_load(&state->slots_used);
    for (size_t i = 0; i < used && i < STATE_SLOTS; i++) {
        struct slot *slot = &state->slots[i];
        if (atomic_load(&slot->state) != SLOT_LIVE || atomic_load(&slot->died) != WORLD_NEVER) {
            atomic_store(&slot->state, SLOT_FREE);
            atomic_store(&slot->died, 0);
        }
        for (size_t j = 0; j < STATE_HISTORY; j++) {
            atomic_store(&slot->history[j].time, 0);
        }
    }
}

void state_reset(struct state *state, const char *text, size_t length, bool virtual_clock)
{
    atomic_fetch_add(&state->epoch, 1);
    for (size_t i = 0; i < FUNCTION_COUNT; i++) {
        atomic_store(&state->calls[i], 0);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(state->hits); i++) {
        if (atomic_load(&state->hits[i])) { /* pages that were never written stay so */
            atomic_store(&state->hits[i], 0);
        }
    }
    reset_slots(state);
    atomic_store(&state->out_of_memory, 0);
    atomic_store(&state->wakes, 0);
    atomic_store(&state->log_length, 0);
    atomic_store(&state->log_lines, 0);
    atomic_store(&state->virtual_now, 0);
    atomic_store(&state->virtual_clock, virtual_clock);
    atomic_store(&state->created, monotonic_ns());
    memcpy(state->text, text, length);
    state->text_length = (uint32_t)length;
    atomic_fetch_add(&state->epoch, 1);
}

/* A file without content reads as zeroes, which is a state with nothing in it. */
static void begin(struct state *state, const char *text, size_t length, bool virtual_clock)
{
    state->layout = sizeof(*state);
    state_reset(state, text, length, virtual_clock);
    memcpy(state->magic, MAGIC, sizeof(state->magic));
}

static struct state *map(int fd)
{
    int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    void *at = mmap(NULL, sizeof(struct state), PROT_READ | PROT_WRITE, flags, fd, 0);
    return at == MAP_FAILED ? NULL : at;
}

/* Empties the file and gives it blocks, so that a full disk is met here and not as SIGBUS later. */
static int make_room(int fd)
{
    if (ftruncate(fd, 0) < 0) {
        return -errno;
    }
    return -posix_fallocate(fd, 0, sizeof(struct state));
}

/* With the users' byte locked: alone (may begin anew) or with others. -EAGAIN: not usable so. */
static int map_file(struct state_file *file, bool alone, bool persistent, const char *text,
                    size_t length, bool virtual_clock)
{
    struct stat status;
    if (fstat(file->fd, &status) < 0) {
        return -errno;
    }
    if (status.st_size == sizeof(struct state)) {
        file->state = map(file->fd);
        if (file->state && is_sound(file->state)) {
            if (alone && !persistent) {
                atomic_store(&file->state->slots_used, 0); /* whoever held memory is dead */
                state_reset(file->state, text, length, virtual_clock);
            }
            return 0;
        }
    }
    if (file->state) {
        (void)munmap(file->state, sizeof(struct state));
        file->state = NULL;
    }
    int r = alone ? make_room(file->fd) : -EAGAIN;
    if (r < 0) {
        return r;
    }
    file->state = map(file->fd);
    if (!file->state) {
        return -ENOMEM;
    }
    begin(file->state, text, length, virtual_clock);
    return 0;
}

/* Who gets the users' byte for itself is alone and decides; others wait until that is done. */
static int open_shared(struct state_file *file, const char *name, bool persistent, const char *text,
                       size_t length, bool virtual_clock)
{
    int r = open_file(name);
    if (r < 0) {
        return r;
    }
    file->fd = r;
    for (int try = 0; try < OPEN_TRIES; try++) {
        bool alone = lock_byte(file->fd, F_OFD_SETLK, F_WRLCK, BYTE_USERS) == 0;
        r = alone ? 0 : lock_byte(file->fd, F_OFD_SETLKW, F_RDLCK, BYTE_USERS);
        if (r == 0) {
            r = map_file(file, alone, persistent, text, length, virtual_clock);
        }
        if (r == 0 && alone) {
            r = lock_byte(file->fd, F_OFD_SETLK, F_RDLCK, BYTE_USERS);
        }
        if (r != -EAGAIN) {
            break;
        }
        (void)lock_byte(file->fd, F_OFD_SETLK, F_UNLCK, BYTE_USERS);
    }
    if (r < 0) {
        state_close(file);
    }
    return r;
}

int state_open(struct state_file *file, const char *name, bool persistent, const char *text,
               size_t length, bool virtual_clock)
{
    *file = (struct state_file){.fd = -1};
    if (open_shared(file, name, persistent, text, length, virtual_clock) == 0) {
        return 0;
    }
    *file = (struct state_file){.fd = -1, .state = map(-1)};
    if (!file->state) {
        return -ENOMEM;
    }
    begin(file->state, text, length, virtual_clock);
    return 0;
}

void state_close(struct state_file *file)
{
    if (file->state) {
        (void)munmap(file->state, sizeof(struct state));
    }
    if (file->fd >= 0) {
        (void)close(file->fd);
    }
    *file = (struct state_file){.fd = -1};
}

/* ---- Log --------------------------------------------------------------------------------------- */

static size_t entry_size(size_t length)
{
    return sizeof(struct log_entry) + (length + 7) / 8 * 8;
}

int state_append(struct state *state, uint64_t time, const char *line)
{
    size_t used = atomic_load(&state->log_length), length = strlen(line);
    uint32_t lines = atomic_load(&state->log_lines);
    if (length > WORDS_LINE_MAX || lines >= STATE_LOG_LINES || used > STATE_LOG_BYTES ||
        entry_size(length) > STATE_LOG_BYTES - used) {
        return -ENOSPC;
    }
    struct log_entry entry = {time, (uint32_t)length, 0};
    memcpy(state->log + used, &entry, sizeof(entry));
    memcpy(state->log + used + sizeof(entry), line, length);
    atomic_store(&state->log_lines, lines + 1);
    atomic_store(&state->log_length, (uint32_t)(used + entry_size(length)));
    return 0;
}

int state_log_next(const struct state *state, size_t *offset, uint64_t *ret_time,
                   char text[WORDS_LINE_MAX + 1])
{
    struct log_entry entry;
    size_t end = atomic_load(&state->log_length);
    if (end > STATE_LOG_BYTES || *offset > end || end - *offset < sizeof(entry)) {
        return -ENOENT;
    }
    memcpy(&entry, state->log + *offset, sizeof(entry));
    if (entry.length > WORDS_LINE_MAX || entry_size(entry.length) > end - *offset) {
        return -ENOENT;
    }
    memcpy(text, state->log + *offset + sizeof(entry), entry.length);
    text[entry.length] = '\0';
    *offset += entry_size(entry.length);
    *ret_time = entry.time;
    return 0;
}
