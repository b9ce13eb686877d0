/* SPDX-License-Identifier: MIT */
#include "cli/values.h"

#include "cli/text.h"
#include "common/size.h"
#include <errno.h>
#include <string.h>

/* Nobody asks for less than this in MiB; many write "24" for a 24 GiB card. */
#define SMALL_BYTES (256 * MIB)

static int fail_usage(struct cli *cli, const char *text, const char *what)
{
    char quoted[TEXT_QUOTED_MAX];
    return cli_fail(cli, STATUS_USAGE, "usage", NULL, "%s %s", text_quote(text, quoted), what);
}

int values_size(struct cli *cli, const char *text, uint64_t *ret_bytes)
{
    char quoted[TEXT_QUOTED_MAX];
    bool bare;
    int r = size_parse(text, ret_bytes, &bare);
    if (r == -ERANGE) {
        return fail_usage(cli, text, "is more than any machine has");
    }
    if (r < 0) {
        return fail_usage(cli, text, "is not a size; write 12G, 512M, 1.5GiB or 20000 (MiB)");
    }
    if (bare && *ret_bytes < SMALL_BYTES) {
        cli_note(cli, "%s is read as %s MiB; write %sG for GiB", text_quote(text, quoted), text,
                 text);
    }
    return 0;
}

int values_margin(struct cli *cli, struct vram_fit_request *request)
{
    const char *text = arguments_value(&cli->arguments, "margin");
    uint64_t bytes;
    uint32_t millipercent;
    if (!text) {
        return 0;
    }
    int r = margin_parse(text, &bytes, &millipercent);
    if (r == -ERANGE) {
        return fail_usage(cli, text, "is too much for a margin");
    }
    if (r < 0) {
        return fail_usage(cli, text, "is not a margin; write 1G, 512M, 0, 1024 (MiB) or 5%");
    }
    request->margin_bytes = bytes;
    request->margin_millipercent = millipercent;
    return 0;
}

int values_duration(struct cli *cli, const char *name, uint64_t *ret_ns)
{
    const char *text = arguments_value(&cli->arguments, name);
    if (text && duration_parse(text, ret_ns) < 0) {
        return fail_usage(cli, text, "is not a duration; write 500ms, 30s, 5m, 2h or 30 (seconds)");
    }
    return 0;
}

int values_count(struct cli *cli, const char *name, uint32_t *ret_count)
{
    const char *text = arguments_value(&cli->arguments, name);
    if (!text) {
        return 0;
    }
    uint32_t count = 0;
    size_t length = strlen(text);
    if (length > 4 || strspn(text, "0123456789") != length) {
        length = 0;
    }
    for (size_t i = 0; i < length; i++) {
        count = count * 10 + (uint32_t)(text[i] - '0');
    }
    if (count == 0) {
        return fail_usage(cli, text, "is not a number of GPUs; write 1 or more");
    }
    *ret_count = count;
    return 0;
}
