/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include "cli/text.h"
#include "common/json.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Longer messages are cut: arguments and the driver's words have no say in how much is printed. */
enum { MESSAGE_MAX = 1024 };

static const char no_memory_json[] =
    "{\"error\":{\"code\":\"out_of_memory\",\"message\":\"out of memory\",\"hint\":null}}\n";

const struct screen *cli_screen(struct cli *cli)
{
    if (!cli->screen_known) {
        const char *colour = arguments_value(&cli->arguments, "color");
        screen_init(&cli->screen, colour ? colour : "auto");
        cli->screen_known = true;
    }
    return &cli->screen;
}

/* 0 or negative errno. */
static int write_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = write(fd, bytes, length);
        if (n > 0) {
            bytes += n;
            length -= (size_t)n;
        } else if (n < 0 && errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

static void write_message(struct cli *cli, const char *message, const char *hint)
{
    bool utf8 = cli_screen(cli)->utf8;
    struct buf text = BUF_INIT;
    buf_text(&text, "vram: ");
    text_safe(&text, message, utf8);
    buf_char(&text, '\n');
    while (hint && *hint) {
        char line[MESSAGE_MAX];
        (void)snprintf(line, sizeof(line), "%.*s", (int)strcspn(hint, "\n"), hint);
        buf_text(&text, "  ");
        text_safe(&text, line, utf8);
        buf_char(&text, '\n');
        hint += strcspn(hint, "\n");
        hint += *hint == '\n';
    }
    if (text.failed) {
        static const char no_memory[] = "vram: out of memory\n";
        (void)write_all(STDERR_FILENO, no_memory, sizeof(no_memory) - 1);
    } else {
        (void)write_all(STDERR_FILENO, text.data, text.length);
    }
    buf_done(&text);
}

void cli_note(struct cli *cli, const char *format, ...)
{
    char message[MESSAGE_MAX];
    va_list args;
    if (cli->format == FORMAT_JSON) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    write_message(cli, message, NULL);
}

void cli_error_json(struct buf *out, const char *code, const char *message, const char *hint)
{
    struct json json = JSON_INIT(out);
    json_object(&json, NULL);
    json_object(&json, "error");
    json_text(&json, "code", code);
    json_text(&json, "message", message);
    json_text(&json, "hint", hint && *hint ? hint : NULL);
    json_end_object(&json);
    json_end_object(&json);
}

int cli_fail(struct cli *cli, int status, const char *code, const char *hint, const char *format,
             ...)
{
    char message[MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    write_message(cli, message, hint);
    buf_clear(&cli->out);
    if (cli->format == FORMAT_JSON) {
        cli_error_json(&cli->out, code, message, hint);
        buf_char(&cli->out, '\n');
    }
    return status;
}

int cli_fail_library(struct cli *cli, int result)
{
    int status = result == -ENOMEM   ? STATUS_FAILED
                 : result == -EINVAL ? STATUS_USAGE
                                     : STATUS_NO_GPU;
    return cli_fail(cli, status, vram_error_code(cli->vram), vram_error_hint(cli->vram), "%s",
                    vram_error(cli->vram));
}

int cli_fail_daemon(struct cli *cli, int result)
{
    static const struct {
        const char *code;
        int status;
    } codes[] = {
        {"not_found", STATUS_NO},      {"bad_id", STATUS_USAGE},     {"no_gpu", STATUS_NO_GPU},
        {"bad_request", STATUS_USAGE}, {"bad_driver", STATUS_USAGE}, {"no_place", STATUS_USAGE},
    };
    const char *code = vram_error_code(cli->vram);
    int status = result == -ENODEV     ? STATUS_NO_GPU
                 : result == -ENOTUNIQ ? STATUS_USAGE
                                       : STATUS_FAILED;
    for (size_t i = 0; i < ARRAY_LENGTH(codes); i++) {
        if (strcmp(codes[i].code, code) == 0) {
            status = codes[i].status;
        }
    }
    return cli_fail(cli, status, code, vram_error_hint(cli->vram), "%s", vram_error(cli->vram));
}

int cli_fail_memory(struct cli *cli)
{
    return cli_fail(cli, STATUS_FAILED, "out_of_memory", NULL, "out of memory");
}

int cli_flush(struct cli *cli, int status, bool *ret_closed)
{
    int r = 0;
    if (cli->out.failed) {
        write_message(cli, "out of memory", NULL);
        status = STATUS_FAILED;
        if (cli->format == FORMAT_JSON) {
            r = write_all(STDOUT_FILENO, no_memory_json, sizeof(no_memory_json) - 1);
        }
    } else if (cli->out.length > 0) {
        r = write_all(STDOUT_FILENO, cli->out.data, cli->out.length);
    }
    buf_clear(&cli->out);
    if (ret_closed) {
        *ret_closed = r == -EPIPE;
    }
    if (r < 0 && r != -EPIPE) {
        char message[MESSAGE_MAX];
        (void)snprintf(message, sizeof(message), "cannot write: %s", strerror(-r));
        write_message(cli, message, NULL);
        return STATUS_FAILED;
    }
    return status;
}
