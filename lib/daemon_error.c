/* SPDX-License-Identifier: MIT */
#include "lib/daemon_error.h"

#include "common/text.h"
#include <errno.h>
#include <string.h>

#define ERRNO_MAX 4095

int daemon_error_place(int result, const char *driver, struct err *err)
{
    if (result == -ENOTCONN) {
        return err_set(err, -ENOTCONN, "no_daemon", "no daemon is asked: VRAM_SOCKET is none");
    }
    return err_set(err, result, "no_place",
                   result == -ENAMETOOLONG
                       ? "the path of the socket of the daemon of '%.64s' is too long"
                       : "'%.64s' is no driver, or VRAM_SOCKET no absolute path",
                   driver);
}

int daemon_error_call(int result, const char *path, struct err *err)
{
    static const struct {
        int result, becomes;
        const char *code, *before, *after;
    } ways[] = {
        {-ENOENT, -ENOTCONN, "no_daemon", "no daemon runs: there is no ", ""},
        {-ECONNREFUSED, -ECONNREFUSED, "daemon_refused", "",
         " is there, but no daemon listens on it"},
        {-EACCES, -EACCES, "daemon_denied", "", " may not be opened by this user"},
        {-EPERM, -EPERM, "daemon_denied", "",
         " is in a directory that is another's, or open to others"},
        {-ETIMEDOUT, -ETIMEDOUT, "daemon_silent", "the daemon on ", " does not answer"},
        {-ECONNRESET, -ECONNRESET, "daemon_gone", "the daemon on ", " broke off"},
        {-EPROTO, -EPROTO, "bad_daemon", "what answers on ", " makes no sense"},
    };
    if (result == -ENOMEM) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(ways); i++) {
        if (ways[i].result == result) {
            return err_set(err, ways[i].becomes, ways[i].code, "%s%s%s", ways[i].before, path,
                           ways[i].after);
        }
    }
    return err_set(err, result, "daemon_unreachable", "%s cannot be connected to: %s", path,
                   strerror(-result));
}

int daemon_error_reply(const json_t *document, const char *path, struct err *err)
{
    const json_t *error = json_object_get(document, "error");
    const char *code = json_string_value(json_object_get(error, "code"));
    const char *message = json_string_value(json_object_get(error, "message"));
    const char *hint = json_string_value(json_object_get(error, "hint"));
    json_int_t number = json_integer_value(json_object_get(error, "errno"));
    if (!code || !message) {
        return daemon_error_call(-EPROTO, path, err);
    }
    int result = strcmp(code, "ending") == 0         ? -ECONNRESET
                 : number > 0 && number <= ERRNO_MAX ? (int)-number
                                                     : -EIO;
    (void)err_set(err, result, code, "%s", message);
    if (hint && err) {
        (void)text_copy(err->hint, sizeof(err->hint), hint);
    }
    return result;
}
