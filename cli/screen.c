/* SPDX-License-Identifier: MIT */
#include "cli/screen.h"

#include "common/attr.h"
#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { WIDTH_DEFAULT = 80, WIDTH_MIN = 20 };

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value ? value : "";
}

static bool wants_colour(const struct screen *screen, const char *colour)
{
    if (strcmp(colour, "auto") != 0) {
        return strcmp(colour, "always") == 0;
    }
    const char *term = environment("TERM");
    return screen->terminal && !*environment("NO_COLOR") && *term && strcmp(term, "dumb") != 0;
}

void screen_init(struct screen *screen, const char *colour)
{
    struct winsize size;
    (void)setlocale(LC_CTYPE, "");
    *screen = (struct screen){.terminal = isatty(STDOUT_FILENO), .width = WIDTH_DEFAULT};
    if (screen->terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        screen->width = size.ws_col < WIDTH_MIN ? WIDTH_MIN : size.ws_col;
        screen->height = size.ws_row;
    }
    screen->colour = wants_colour(screen, colour);
    /* The kernel's own console has a font of 256 characters, whatever the locale says. */
    screen->utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0 &&
                   !(screen->terminal && strcmp(environment("TERM"), "linux") == 0);
}

const char *screen_style(const struct screen *screen, enum style style)
{
    static const char *const sequences[] = {
        [STYLE_NONE] = "",         [STYLE_STRONG] = "\033[1m", [STYLE_FAINT] = "\033[2m",
        [STYLE_GOOD] = "\033[32m", [STYLE_WARN] = "\033[33m",  [STYLE_BAD] = "\033[31m",
    };
    return screen->colour ? sequences[style] : "";
}

const char *screen_plain(const struct screen *screen)
{
    return screen->colour ? "\033[0m" : "";
}

const char *screen_symbol(const struct screen *screen, enum symbol symbol)
{
    static const struct {
        const char *utf8, *ascii;
    } symbols[] = {
        [SYMBOL_UNKNOWN] = {"–", "-"},    [SYMBOL_YES] = {"✓", "yes"},
        [SYMBOL_NO] = {"✗", "no"},        [SYMBOL_MINUS] = {"−", "-"},
        [SYMBOL_CUT] = {"…", "~"},        [SYMBOL_DEGREES] = {"°C", "C"},
        [SYMBOL_BAR_USED] = {"█", "#"},   [SYMBOL_BAR_PROMISED] = {"▒", "+"},
        [SYMBOL_BAR_DRIVER] = {"▓", "="}, [SYMBOL_BAR_FREE] = {"░", "-"},
    };
    return screen->utf8 ? symbols[symbol].utf8 : symbols[symbol].ascii;
}
