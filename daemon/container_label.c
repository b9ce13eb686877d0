/* SPDX-License-Identifier: MIT */
#include "daemon/container_label.h"

#include <jansson.h>

#include "common/path.h"
#include "common/text.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DOCKER_CONFIG "/etc/docker/daemon.json"
#define DOCKER_CONFIG_MAX 65536
#define DIRECTORIES_MAX 64 /* of namespaces, or storage drivers, in one place */
#define ID_MAX 65

/* ---- Texts ----------------------------------------------------------------------------------- */

int container_label_parse(const char *text, size_t length, const char *label,
                          char user[ACCOUNT_NAME_MAX])
{
    json_t *document = json_loadb(text, length, 0, NULL);
    const json_t *labels = json_object_get(json_object_get(document, "Config"), "Labels");
    const json_t *annotations = json_object_get(document, "annotations");
    const json_t *value = json_object_get(labels, label);
    value = value ? value : json_object_get(annotations, label);
    const char *name = json_string_value(value);
    /* Jansson refuses a NUL within a text, as it was told nothing else. */
    int r = !json_is_object(document)       ? -EBADMSG
            : !value                        ? 0
            : name && account_is_name(name) ? 1
                                            : -EINVAL;
    if (r == 1) {
        (void)text_copy(user, ACCOUNT_NAME_MAX, name);
    }
    json_decref(document);
    return r;
}

/* ---- Files ----------------------------------------------------------------------------------- */

/* Who else may write it could say anything. What may not be followed is not: O_NOFOLLOW all the way. */
static int check(int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    if (!S_ISREG(st.st_mode)) {
        return -EINVAL;
    }
    bool is_ours =
        (st.st_uid == 0 || st.st_uid == geteuid()) && !(st.st_mode & (S_IWGRP | S_IWOTH));
    return is_ours ? (st.st_size > (off_t)CONTAINER_METADATA_MAX ? -EFBIG : 0) : -EPERM;
}

/* Opens "a/b/c" below a directory without following a link on the way. A descriptor; negative errno. */
static int open_below(int directory, const char *path)
{
    int at = fcntl(directory, F_DUPFD_CLOEXEC, 3);
    while (at >= 0) {
        char name[NAME_MAX + 1];
        size_t length = strcspn(path, "/");
        bool is_last = !path[length];
        (void)text_copy_n(name, sizeof(name), path, length);
        int next = openat(at, name,
                          (is_last ? O_RDONLY | O_NONBLOCK : O_PATH | O_DIRECTORY) | O_NOFOLLOW |
                              O_CLOEXEC);
        int r = next < 0 ? -errno : next;
        (void)close(at);
        if (r < 0 || is_last) {
            return r;
        }
        at = next;
        path += length + 1;
    }
    return -errno;
}

static int read_file(int directory, const char *path, const char *label,
                     char user[ACCOUNT_NAME_MAX])
{
    int fd = open_below(directory, path);
    if (fd < 0) {
        return fd == -ENOTDIR ? -ENOENT : fd;
    }
    int r = check(fd);
    char *text = r == 0 ? malloc(CONTAINER_METADATA_MAX + 2) : NULL;
    if (!text) {
        (void)close(fd);
        return r < 0 ? r : -ENOMEM;
    }
    r = path_read_fd(fd, text, CONTAINER_METADATA_MAX + 2);
    r = r > (int)CONTAINER_METADATA_MAX ? -EFBIG : r;
    r = r < 0 ? r : container_label_parse(text, (size_t)r, label, user);
    free(text);
    return r;
}

/* ---- Places ---------------------------------------------------------------------------------- */

/* The file of a container is in a directory of `base` whose name ends so: ID TAIL. */
struct place {
    const char *base, *suffix, *tail;
};

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

/* As container_label_read(); what says more is kept: that there is no label is more than that there is no file. */
static int better(int a, int b)
{
    return a == -ENOENT ? b : b == -ENOENT ? a : a == 1 || b == 1 ? 1 : a < 0 ? a : b;
}

static int look_in(const char *root, const struct place *place, const char *id, const char *label,
                   char user[ACCOUNT_NAME_MAX])
{
    DIR *base = path_open_dir(root, place->base); /* which may be a link to where there is room */
    const struct dirent *entry;
    int r = -ENOENT;
    for (int i = 0; base && r != 1 && i < DIRECTORIES_MAX && (entry = readdir(base));) {
        char path[PATH_TEXT_MAX];
        bool fits = entry->d_name[0] != '.' && ends_with(entry->d_name, place->suffix);
        int length = snprintf(path, sizeof(path), "%s/%s%s", entry->d_name, id, place->tail);
        if (fits && length < (int)sizeof(path)) {
            r = better(r, read_file(dirfd(base), path, label, user));
            i++;
        }
    }
    if (base) {
        (void)closedir(base);
    }
    return r;
}

/* Where Docker keeps its data; "" where that cannot be told. */
static void find_docker(const char *root, char data[PATH_TEXT_MAX])
{
    char *text = malloc(DOCKER_CONFIG_MAX);
    int length = text ? path_read(root, DOCKER_CONFIG, text, DOCKER_CONFIG_MAX) : -ENOMEM;
    json_t *config = length > 0 ? json_loadb(text, (size_t)length, 0, NULL) : NULL;
    const char *said = json_string_value(json_object_get(config, "data-root"));
    bool is_said = said && said[0] == '/' && strlen(said) < PATH_TEXT_MAX;
    (void)text_copy(data, PATH_TEXT_MAX, is_said ? said : "/var/lib/docker");
    json_decref(config);
    free(text);
}

int container_label_read(const char *root, const char *id, const char *label,
                         char user[ACCOUNT_NAME_MAX])
{
    char docker[PATH_TEXT_MAX];
    find_docker(root, docker);
    const struct place places[] = {
        {docker, "containers", "/config.v2.json"},
        {"/var/lib/containers/storage", "-containers", "/userdata/config.json"},
        {"/run/containerd/io.containerd.runtime.v2.task", "", "/config.json"},
    };
    int r = -ENOENT;
    for (size_t i = 0; r != 1 && i < sizeof(places) / sizeof(places[0]); i++) {
        r = better(r, look_in(root, &places[i], id, label, user));
    }
    return r;
}
