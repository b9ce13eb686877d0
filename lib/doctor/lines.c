/* SPDX-License-Identifier: MIT */
#include "lib/doctor/lines.h"

#include "common/path.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX_BYTES                                                                             \
    ((size_t)8 << 20) /* modules.dep of a distribution's kernel has less than 1 MiB */

int lines_stat(const char *root, const char *path, struct stat *ret_stat)
{
    char joined[PATH_TEXT_MAX];
    int length = snprintf(joined, sizeof(joined), "%s%s", root, path);
    if (length < 0 || (size_t)length >= sizeof(joined)) {
        return -ENAMETOOLONG;
    }
    return stat(joined, ret_stat) < 0 ? -errno : 0;
}

int lines_open(struct lines *lines, const char *root, const char *path)
{
    struct stat st;
    int r = lines_stat(root, path, &st);
    if (r < 0) {
        return r;
    }
    if (!S_ISREG(st.st_mode)) {
        return -EINVAL;
    }
    int fd = path_open(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return fd;
    }
    lines->fd = fd;
    lines->left = FILE_MAX_BYTES;
    lines->at = lines->length = 0;
    return 0;
}

void lines_close(struct lines *lines)
{
    if (lines->fd >= 0) {
        (void)close(lines->fd);
        lines->fd = -1;
    }
    lines->at = lines->length = 0;
}

/* False at the end of the file, or of what may be read of it. */
static bool refill(struct lines *lines)
{
    size_t wanted = sizeof(lines->buffer) < lines->left ? sizeof(lines->buffer) : lines->left;
    ssize_t n;
    if (lines->fd < 0) {
        return false;
    }
    do {
        n = wanted ? read(lines->fd, lines->buffer, wanted) : 0;
    } while (n < 0 && errno == EINTR);
    if (n <= 0) {
        return false;
    }
    lines->left -= (size_t)n;
    lines->at = 0;
    lines->length = (size_t)n;
    return true;
}

const char *lines_next(struct lines *lines)
{
    size_t length = 0;
    bool some = false;
    while (lines->at < lines->length || refill(lines)) {
        char c = lines->buffer[lines->at++];
        if (c == '\n' || c == '\0') {
            lines->line[length] = '\0';
            return lines->line;
        }
        some = true;
        if (length < sizeof(lines->line) - 1) {
            lines->line[length++] = c;
        }
    }
    lines_close(lines);
    lines->line[length] = '\0';
    return some ? lines->line : NULL;
}

/* Copies what stands between the blanks at both ends, as far as there is room. Returns the length.
 */
static size_t copy_trimmed(const char *text, char *word, size_t size)
{
    static const char blanks[] = " \t\r";
    text += strspn(text, blanks);
    size_t length = strlen(text);
    while (length && strchr(blanks, text[length - 1])) {
        length--;
    }
    length = length < size ? length : size - 1;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        word[i] = c == '\t' ? ' ' : c < 0x20 || c >= 0x7F ? '?' : (char)c;
    }
    word[length] = '\0';
    return length;
}

int lines_first(const char *root, const char *path, char *word, size_t size)
{
    struct lines lines;
    int r = lines_open(&lines, root, path);
    if (r < 0) {
        return r;
    }
    const char *line = lines_next(&lines);
    size_t length = copy_trimmed(line ? line : "", word, size);
    lines_close(&lines);
    return (int)length;
}

bool lines_value(const char *root, const char *path, const char *key, char *value, size_t size)
{
    struct lines lines;
    bool found = false;
    if (lines_open(&lines, root, path) < 0) {
        return false;
    }
    size_t length = strlen(key);
    for (const char *line; !found && (line = lines_next(&lines));) {
        found = strncmp(line, key, length) == 0;
        if (found) {
            line += length;
            (void)copy_trimmed(line + strspn(line, " \t:"), value, size);
        }
    }
    lines_close(&lines);
    return found;
}
