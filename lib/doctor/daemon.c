/* SPDX-License-Identifier: MIT */
/* The daemon that promises room, and how its socket came into a container: D34, D35, D36, D37, D38. */
#include "lib/doctor/exam.h"

#include "common/path.h"
#include "lib/doctor/lines.h"
#include <errno.h>
#include <string.h>

#define SYSTEM_DIRECTORY "/run/vram"
#define SYSTEM_SOCKET SYSTEM_DIRECTORY "/vram.sock"

/* ---- Mounts ---------------------------------------------------------------------------------- */

enum mounted {
    MOUNTED_NOT = 0,
    MOUNTED,
    MOUNTED_DELETED /* what was mounted has been deleted since */
};

/* The kernel writes "\040" for a blank in a path, and the like for others. Whether a field means this path. */
static bool field_is(const char *field, size_t length, const char *path)
{
    const char *end = field + length;
    for (; field < end && *path; path++) {
        bool escaped = field[0] == '\\' && strspn(field + 1, "01234567") >= 3;
        char c = escaped
                     ? (char)(((field[1] - '0') << 6) + ((field[2] - '0') << 3) + field[3] - '0')
                     : field[0];
        if (c != *path) {
            return false;
        }
        field += escaped ? 4 : 1;
    }
    return field == end && !*path;
}

/* "36 35 98:0 /vram/vram.sock//deleted /run/vram/vram.sock rw …": what of a file system is mounted where. */
static enum mounted read_mount(const char *line, const char *path)
{
    static const char deleted[] = "//deleted";
    const char *what = line;
    for (size_t i = 0; i < 3; i++) {
        what = strchr(what, ' ');
        if (!what++) {
            return MOUNTED_NOT;
        }
    }
    size_t length = strcspn(what, " "), suffix = sizeof(deleted) - 1;
    const char *where = what + length + (what[length] == ' ');
    if (!field_is(where, strcspn(where, " "), path)) {
        return MOUNTED_NOT;
    }
    return length >= suffix && memcmp(what + length - suffix, deleted, suffix) == 0
               ? MOUNTED_DELETED
               : MOUNTED;
}

/* How this very path was mounted, not one above it. */
static enum mounted find_mount(const struct exam *exam, const char *path)
{
    struct lines lines;
    enum mounted mounted = MOUNTED_NOT;
    if (lines_open(&lines, exam->machine.root, "/proc/self/mountinfo") < 0) {
        return MOUNTED_NOT;
    }
    for (const char *line; (line = lines_next(&lines));) {
        enum mounted found = read_mount(line, path);
        mounted = found ? found : mounted; /* the last one is on top */
    }
    lines_close(&lines);
    return mounted;
}

/* ---- What several of the checks ask ---------------------------------------------------------- */

static bool is_in_container(const struct exam *exam)
{
    return exam->machine.container || exam->machine.private_pids;
}

/* A daemon that is there, and does not answer because of this. */
static bool failed_with(const struct doctor_daemon *daemon, int result)
{
    return daemon->socket && daemon->trouble && daemon->trouble->result == result;
}

static bool is_directory(const struct exam *exam, const char *path)
{
    struct stat status;
    return lines_stat(exam->machine.root, path, &status) == 0 && S_ISDIR(status.st_mode);
}

static void remedy_mount_directory(struct exam *exam)
{
    exam_remedy(exam, "Mount the socket's directory, not the socket, into a new container:");
    exam_remedy(exam, "docker run -v " SYSTEM_DIRECTORY ":" SYSTEM_DIRECTORY " …");
}

static void remedy_start_daemon(struct exam *exam)
{
    if (is_in_container(exam)) {
        exam_remedy(exam, "On the host, outside of this container:");
    }
    exam_remedy(exam, "sudo systemctl restart vramd.socket");
    exam_remedy(exam, "Where it is no service of systemd's, start it again by hand:");
    exam_remedy(exam, "sudo vram serve");
}

/* ---- D34 ------------------------------------------------------------------------------------- */

/* A directory that waits for a socket which nobody makes. Without it a program looks elsewhere, so nothing says so. */
static void empty_mount(struct exam *exam)
{
    if (!is_in_container(exam) || find_mount(exam, SYSTEM_DIRECTORY) == MOUNTED_NOT ||
        path_exists(exam->machine.root, SYSTEM_SOCKET)) {
        return;
    }
    exam_problem(exam, "the daemon's directory is mounted, and no daemon has a socket in it");
    exam_evidence(exam, SYSTEM_SOCKET " is not there");
    remedy_start_daemon(exam);
}

void check_daemon(struct exam *exam)
{
    const struct doctor_daemon *daemon = &exam->scene->daemon;
    if (!daemon->socket) {
        return;
    }
    if (!daemon->trouble) {
        exam_good(exam, "the daemon answers, and tells of %zu GPU%s", daemon->gpu_count,
                  daemon->gpu_count == 1 ? "" : "s");
        exam_evidence(exam, "%s", daemon->socket);
    } else if (failed_with(daemon, -ENOTCONN)) {
        empty_mount(exam);
    } else if (!daemon->expected || failed_with(daemon, -EACCES) || failed_with(daemon, -EPERM)) {
        return; /* one of the user's own is started when it is needed; D36 */
    } else if (!failed_with(daemon, -ECONNREFUSED)) {
        exam_problem(exam, "the daemon cannot be used, so that there are no leases");
        exam_evidence(exam, "%s", daemon->trouble->message);
        remedy_start_daemon(exam);
    } else if (!find_mount(exam, daemon->socket) && !is_directory(exam, daemon->socket)) { /* D35 */
        exam_problem(exam, "the daemon's socket is there, and no daemon listens on it");
        exam_evidence(exam, "%s", daemon->trouble->message);
        remedy_start_daemon(exam);
    }
}

/* ---- D35 ------------------------------------------------------------------------------------- */

/* Docker makes a directory of a mount whose source is missing. */
static void mounted_before_the_daemon(struct exam *exam)
{
    const char *socket = exam->scene->daemon.socket;
    exam_problem(exam,
                 "where the daemon's socket should be is a directory, which Docker makes where "
                 "the file to be mounted is not there");
    exam_evidence(exam, "%s is a directory", socket);
    if (strcmp(socket, SYSTEM_SOCKET) == 0) {
        exam_remedy(exam, "On the host, when the container has been removed:");
        exam_remedy(exam, "sudo rmdir " SYSTEM_SOCKET " && sudo systemctl restart vramd.socket");
    } else {
        exam_remedy(exam, "Remove that directory on the host, and start the daemon again.");
    }
    remedy_mount_directory(exam);
}

void check_daemon_mount(struct exam *exam)
{
    const struct doctor_daemon *daemon = &exam->scene->daemon;
    if (!daemon->socket || failed_with(daemon, -ENOTCONN)) {
        return;
    }
    if (is_directory(exam, daemon->socket)) {
        mounted_before_the_daemon(exam);
        return;
    }
    enum mounted mounted = find_mount(exam, daemon->socket);
    if (mounted == MOUNTED_NOT) {
        return;
    }
    exam_evidence(exam, "/proc/self/mountinfo: %s is a mount of its own%s", daemon->socket,
                  mounted == MOUNTED_DELETED ? ", of a file that has been deleted" : "");
    if (failed_with(daemon, -ECONNREFUSED) || mounted == MOUNTED_DELETED) {
        exam_problem(exam,
                     "the socket itself was mounted, and it is that of a daemon that is gone: "
                     "the new daemon's is on the host alone");
    } else {
        exam_note(exam, "the socket itself was mounted: when the daemon makes it anew, the old one "
                        "stays here, and nobody listens on it");
    }
    remedy_mount_directory(exam);
}

/* ---- D36 ------------------------------------------------------------------------------------- */

void check_daemon_access(struct exam *exam)
{
    const struct doctor_daemon *daemon = &exam->scene->daemon;
    struct stat status;
    if (!failed_with(daemon, -EACCES) && !failed_with(daemon, -EPERM)) {
        return;
    }
    exam_problem(exam, "this user may not talk to the daemon");
    exam_evidence(exam, "%s", daemon->trouble->message);
    if (lines_stat(exam->machine.root, daemon->socket, &status) == 0) {
        exam_evidence(exam, "%s: mode %04o, user %u", daemon->socket,
                      (unsigned)(status.st_mode & 07777), (unsigned)status.st_uid);
    }
    remedy_selinux(exam, "vram");
    if (is_in_container(exam)) {
        exam_remedy(exam, "Where SELinux is on, it keeps containers from the host's services:");
        exam_remedy(exam, "docker run --security-opt label=disable …");
        exam_remedy(exam, "The daemon of one user is for that user alone:");
        exam_remedy(exam, "docker run --user \"$(id -u)\" …");
    } else {
        exam_remedy(exam, "The machine's daemon is for everybody, that of one user for that user "
                          "alone. To have one:");
        exam_remedy(exam, "sudo systemctl enable --now vramd.socket");
    }
}

/* ---- D37 ------------------------------------------------------------------------------------- */

bool exam_is_served(const struct exam *exam)
{
    const struct doctor_daemon *daemon = &exam->scene->daemon;
    return !exam->works && !exam->scene->simulation && is_in_container(exam) &&
           !exam->machine.node_count && daemon->socket && !daemon->trouble && daemon->gpu_count > 0;
}

void check_served(struct exam *exam)
{
    const struct doctor_daemon *daemon = &exam->scene->daemon;
    const char *name = machine_container_name(exam->machine.container);
    if (!exam_is_served(exam)) {
        return;
    }
    exam_note(exam,
              "this container (%s) has no GPU; `vram status`, `fit` and `run` work through the "
              "daemon, which tells of %zu",
              name ? name : "of some kind", daemon->gpu_count);
    exam_evidence(exam, "%s answers", daemon->socket);
    exam_remedy(exam, "Only for programs that use a GPU themselves:");
    remedy_give_gpus(exam);
    exam->explained = true;
}

/* ---- D38 ------------------------------------------------------------------------------------- */

void check_drained(struct exam *exam)
{
    const struct doctor_daemon *daemon = &exam->scene->daemon;
    bool one = daemon->drained_count == 1;
    if (!daemon->drained_count) {
        return;
    }
    exam_note(exam, "%s drained: the daemon grants no new lease there",
              one ? "a GPU is" : "GPUs are");
    for (size_t i = 0; i < daemon->drained_count; i++) {
        exam_evidence(exam, "GPU %s", daemon->drained[i]);
    }
    exam_remedy(exam, "Whoever drained %s has a reason. To have leases granted there again:",
                one ? "it" : "them");
    for (size_t i = 0; i < daemon->drained_count; i++) {
        exam_remedy(exam, "sudo vram undrain %s", daemon->drained[i]);
    }
}
