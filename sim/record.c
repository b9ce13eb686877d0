/* SPDX-License-Identifier: MIT */
/*
 * Records a machine: reads its driver, composes the scenario that plays it, plays that once to see what it does not say as the
 * driver did, and writes it. A driver that hangs, crashes or does not start is recorded as such.
 */
#include "sim/record.h"

#include "common/clock.h"
#include "common/path.h"
#include "sim/reader.h"
#include "sim/scenario.h"
#include "sim/target.h"
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_RESERVE ((size_t)16 << 10)
#define LINES_RESERVE 512u

/* A recording in progress. */
struct recording {
    const struct record_options *options;
    struct reader reader;
    struct reading *first; /* a copy */
    struct composer composer;
    struct buf result;
    int trouble; /* how the reading ended: 0, -ETIMEDOUT, -EPIPE */
    unsigned differences;
    bool full;
};

static volatile bool stopped;

static void stop(int signal)
{
    (void)signal;
    stopped = true;
}

static int say(const char *text, int status)
{
    (void)fprintf(stderr, "vram record: %s\n", text);
    return status;
}

/* ---- Sleeping GPUs ------------------------------------------------------------------------------ */

static bool line_begins(const char *root, const char *device, const char *file, const char *word)
{
    char path[PATH_TEXT_MAX], text[64];
    (void)snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.64s/%s", device, file);
    return path_read_line(root, path, text, sizeof(text)) > 0 &&
           strncmp(text, word, strlen(word)) == 0;
}

/* The PCI address of an NVIDIA GPU that the kernel has suspended; any question to the driver would wake it. */
static bool find_sleeping(char *address, size_t size)
{
    const char *chosen = secure_getenv("VRAM_SYSROOT"), *root = chosen ? chosen : "";
    DIR *devices = path_open_dir(root, "/sys/bus/pci/devices");
    bool found = false;
    for (struct dirent *entry; devices && !found && (entry = readdir(devices));) {
        const char *name = entry->d_name;
        found = name[0] != '.' && line_begins(root, name, "vendor", "0x10de") &&
                line_begins(root, name, "class", "0x03") &&
                line_begins(root, name, "power/runtime_status", "suspended");
        (void)snprintf(address, size, "%.64s", name);
    }
    if (devices) {
        (void)closedir(devices);
    }
    return found;
}

/* ---- Reading ------------------------------------------------------------------------------------ */

/* Everything, several times; the last is what counts, all are for the latencies. */
static int read_first(struct recording *recording)
{
    struct reader *reader = &recording->reader;
    for (uint64_t i = 0; recording->trouble == 0 && i < recording->options->readings; i++) {
        int r = reader_read(reader, false, &stopped);
        if (r == -EINTR) {
            return r;
        }
        recording->trouble = r;
        if (reader->reading->failed) {
            break;
        }
    }
    memcpy(recording->first, reader->reading, sizeof(*recording->first));
    recording->first->taken_ns = clock_now_ns();
    if (recording->trouble && recording->first->answer_count) {
        recording->first->answer_count--; /* of the call that it broke off in */
    }
    return compose_machine(&recording->composer, recording->first);
}

static bool is_full(const struct recording *recording)
{
    const struct composer *composer = &recording->composer;
    size_t lines = 0;
    for (const char *at = composer->changes.data; at && (at = strchr(at, '\n')); at++) {
        lines++;
    }
    return composer->text.length + composer->changes.length + TEXT_RESERVE > SCENARIO_TEXT_MAX ||
           lines + LINES_RESERVE > SCENARIO_LINES_MAX ||
           composer->process_count + LINES_RESERVE > WORLD_PROCESSES;
}

static void wait_until(uint64_t ns)
{
    for (uint64_t now; !stopped && (now = clock_now_ns()) < ns;) {
        uint64_t ms = (ns - now) / 1000000 + 1;
        (void)poll(NULL, 0, ms < 50 ? (int)ms : 50);
    }
}

static int follow(struct recording *recording)
{
    const struct record_options *options = recording->options;
    uint64_t began = recording->composer.began_ns, next = began;
    int r = 0;
    while (r == 0 && recording->trouble == 0) {
        next += options->period_ns;
        uint64_t now = clock_now_ns();
        next = next > now ? next : now;
        wait_until(next);
        if (stopped || next - began > options->duration_ns) {
            break;
        }
        recording->full = is_full(recording);
        if (recording->full) {
            break;
        }
        recording->trouble = reader_read(&recording->reader, true, &stopped);
        if (recording->trouble == -EINTR) {
            recording->trouble = 0;
            break;
        }
        if (recording->trouble == 0) {
            r = compose_change(&recording->composer, recording->reader.reading);
        }
    }
    return r;
}

/* ---- Playing ------------------------------------------------------------------------------------ */

static void remove_directory(const char *path)
{
    char file[600];
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        if (entry->d_name[0] != '.') {
            (void)snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
            (void)unlink(file);
        }
    }
    if (directory) {
        (void)closedir(directory);
    }
    (void)rmdir(path);
}

static int write_file(const char *path, const struct buf *text)
{
    FILE *file = fopen(path, "wxe");
    if (!file) {
        return -errno;
    }
    size_t written = fwrite(text->data, 1, text->length, file);
    return fclose(file) == 0 && written == text->length ? 0 : -EIO;
}

static int play_in(struct recording *recording, const char *directory, struct complaint *complaint)
{
    char path[300], driver[320];
    struct reader reader;
    (void)snprintf(path, sizeof(path), "%s/played", directory);
    (void)snprintf(driver, sizeof(driver), "sim:%s", path);
    int r = write_file(path, &recording->composer.text);
    if (r < 0) {
        return complain(complaint, "%.160s cannot be written: %s", path, strerror(-r));
    }
    r = reader_start(&reader, driver, directory, recording->options->timeout_ns, complaint);
    if (r < 0) {
        return r;
    }
    r = reader_read(&reader, false, NULL);
    if (r == 0) {
        recording->differences =
            compose_difference(&recording->composer, recording->first, reader.reading);
    } else {
        (void)complain(complaint, "the simulated driver does not answer");
    }
    reader_end(&reader);
    return r;
}

/* Plays the machine as it was composed, and says what it does not answer alike. */
static int play(struct recording *recording, struct complaint *complaint)
{
    const char *chosen = getenv("TMPDIR");
    char directory[256];
    int n = snprintf(directory, sizeof(directory), "%s/vram-record.XXXXXX",
                     chosen && chosen[0] == '/' ? chosen : "/tmp");
    if (n < 0 || (size_t)n >= sizeof(directory) || !mkdtemp(directory)) {
        return complain(complaint, "no temporary directory can be made: %s", strerror(errno));
    }
    int r = play_in(recording, directory, complaint);
    remove_directory(directory);
    return r;
}

/* ---- The file ----------------------------------------------------------------------------------- */

/* Whether it can stand in a comment. */
static bool is_plain(const char *text)
{
    while (*text >= ' ' && *text != 0x7F) {
        text++;
    }
    return *text == '\0';
}

static void write_heading(struct recording *recording)
{
    struct buf *buf = &recording->result;
    const struct reading *first = recording->first;
    const struct answer *name = reading_find(first, FUNCTION_nvmlDeviceGetName, 0, -1, 0);
    buf_format(buf, "# A recording: %u GPU%s", first->gpu_count, first->gpu_count == 1 ? "" : "s");
    if (name && name->code == NVML_SUCCESS && is_plain(name->text)) {
        buf_format(buf, ", %s", name->text);
    }
    buf_format(buf, ", %" PRIu64 " reading%s of everything", recording->options->readings,
               recording->options->readings == 1 ? "" : "s");
    if (recording->options->duration_ns) {
        buf_format(buf, ", changes of %" PRIu64 " s", recording->options->duration_ns / 1000000000);
    }
    buf_text(buf, ".\n");
}

/* What a reading that broke off says of the call in which it did. */
static void write_trouble(struct recording *recording)
{
    struct buf *buf = &recording->result;
    const struct reading *reading = recording->reader.reading;
    int function = atomic_load(&reading->function), gpu = atomic_load(&reading->gpu);
    if (recording->trouble == 0 || function < 0 || function >= FUNCTION_COUNT) {
        return;
    }
    bool hangs = recording->trouble == -ETIMEDOUT;
    buf_text(buf, hangs ? "# This call did not return" : "# In this call the library crashed");
    if (hangs) {
        buf_format(buf, " within %" PRIu64 " s", recording->options->timeout_ns / 1000000000);
    }
    buf_text(buf, "; what comes behind it was not asked.\n");
    buf_format(buf, "%s ", hangs ? "hang" : "crash");
    compose_function(buf, (enum function)function);
    if (gpu >= 0) {
        buf_format(buf, " gpu=%d", gpu);
    }
    buf_char(buf, '\n');
}

static int compose_result(struct recording *recording)
{
    struct buf *buf = &recording->result;
    struct composer *composer = &recording->composer;
    write_heading(recording);
    buf_add(buf, composer->text.data, composer->text.length);
    write_trouble(recording);
    compose_latencies(buf, recording->first);
    if (composer->changes.length) {
        buf_add(buf, composer->changes.data, composer->changes.length);
    }
    return buf->failed || composer->text.failed || composer->changes.failed ? -ENOMEM : 0;
}

/* ---- All of it ---------------------------------------------------------------------------------- */

static const char *trouble_text(const struct recording *recording)
{
    return recording->trouble == -ETIMEDOUT ? "a call of the driver does not return; the recording "
                                              "ends with it and says so"
           : recording->trouble ? "the driver's library crashed; the recording ends with that "
                                  "call and says so"
                                : "the driver does not start; the recording says so";
}

static void tell_doubts(const struct recording *recording, int checked,
                        const struct complaint *complaint)
{
    if (checked < 0) {
        (void)fprintf(stderr, "vram record: it was not played to see whether it is true: %s\n",
                      complaint->text);
    }
    if (recording->differences) {
        (void)fprintf(stderr,
                      "vram record: %u answers cannot be expressed; they stand in the comments "
                      "that begin with 'differs:'\n",
                      recording->differences);
    }
    if (recording->full) {
        (void)say("the recording ends early: a scenario holds no more", 0);
    }
}

static int record_scenario(struct recording *recording, struct complaint *complaint)
{
    struct scenario scenario;
    int r = read_first(recording);
    if (r == 0 && recording->options->duration_ns && !recording->first->failed) {
        r = follow(recording);
    }
    int checked = r == 0 ? play(recording, complaint) : 0;
    r = r == 0 ? compose_result(recording) : r;
    if (r < 0) {
        (void)complain(complaint, "%s", r == -EINTR ? "interrupted" : "out of memory");
        return r;
    }
    tell_doubts(recording, checked, complaint);
    r = scenario_parse(recording->result.data, recording->result.length, "the recording", &scenario,
                       complaint);
    if (r == 0) {
        scenario_done(&scenario);
    } else {
        (void)say(complaint->text, 0);
    }
    return 0;
}

static int record_answers(struct recording *recording, struct complaint *complaint)
{
    recording->trouble = reader_read(&recording->reader, false, &stopped);
    reading_print(&recording->result, recording->reader.reading);
    return recording->result.failed ? complain(complaint, "out of memory") : 0;
}

static int write_result(struct recording *recording, struct target *target,
                        struct complaint *complaint)
{
    const struct reading *reading = recording->reader.reading;
    if (target_write(target, recording->result.data ? recording->result.data : "",
                     recording->result.length, complaint) < 0) {
        return say(complaint->text, RECORD_NOT_WRITTEN);
    }
    return recording->trouble || reading->failed ? say(trouble_text(recording), RECORD_NO_DRIVER)
                                                 : 0;
}

static int record_to(struct recording *recording, struct target *target)
{
    const struct record_options *options = recording->options;
    struct complaint complaint;
    if (reader_start(&recording->reader, options->driver, NULL, options->timeout_ns, &complaint) <
        0) {
        return say(complaint.text, RECORD_NO_DRIVER);
    }
    int r = options->answers ? record_answers(recording, &complaint)
                             : record_scenario(recording, &complaint);
    int status =
        r < 0 ? say(complaint.text, RECORD_NO_DRIVER) : write_result(recording, target, &complaint);
    reader_end(&recording->reader);
    return status;
}

static int record_with(struct recording *recording)
{
    struct sigaction action = {.sa_handler = stop};
    struct target target;
    struct complaint complaint;
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    if (target_open(&target, recording->options->file, recording->options->force, &complaint) < 0) {
        return say(complaint.text, RECORD_NOT_WRITTEN);
    }
    int status = record_to(recording, &target);
    target_drop(&target);
    composer_done(&recording->composer);
    buf_done(&recording->result);
    return status;
}

int record(const struct record_options *options)
{
    struct recording recording = {.options = options, .composer = {.options = options->compose}};
    char sleeping[80];
    if (!options->wake && find_sleeping(sleeping, sizeof(sleeping))) {
        (void)fprintf(stderr,
                      "vram record: the GPU %s sleeps, and asking the driver would wake it; --wake "
                      "does so\n",
                      sleeping);
        return RECORD_NO_DRIVER;
    }
    struct reading *first = calloc(1, sizeof(*first));
    if (!first) {
        return say("out of memory", RECORD_NO_DRIVER);
    }
    recording.first = first;
    int status = record_with(&recording);
    free(first);
    return status;
}
