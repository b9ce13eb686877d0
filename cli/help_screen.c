/* SPDX-License-Identifier: MIT */
/* Help as a terminal shows it. */
#include "cli/help.h"

#include "cli/text.h"

/* Text is easiest to read when its lines are not too long. */
enum { HELP_WIDTH_MAX = 92 };

/* A page on its way: where it goes and how wide it is. */
struct page {
    struct buf *out;
    const struct screen *screen;
    size_t width;
    bool titled; /* a title has come: text stands below it */
};

/* Where the meanings of a list begin. */
static const size_t columns[] = {
    [HELP_COMMAND] = 20, [HELP_OPTION] = 20,   [HELP_KEY] = 28,
    [HELP_STATUS] = 8,   [HELP_VARIABLE] = 24, [HELP_EXAMPLE] = 40,
};

static void add_usage(void *data, const char *words)
{
    struct page *page = data;
    buf_format(page->out, "Usage: vram %s\n\n", words);
}

static void add_text(void *data, const char *text)
{
    struct page *page = data;
    size_t indent = page->titled ? 2 : 0;
    text_blanks(page->out, indent);
    text_wrap(page->out, text, indent, indent, page->width);
}

static void add_title(void *data, const char *title)
{
    struct page *page = data;
    page->titled = true;
    buf_format(page->out, "\n%s%s%s\n", screen_style(page->screen, STYLE_STRONG), title,
               screen_plain(page->screen));
}

/* "  term   meaning", the meaning wrapped in a column of its own. */
static void add_item(void *data, enum help_item kind, const char *term, const char *meaning)
{
    struct page *page = data;
    size_t column = columns[kind];
    buf_text(page->out, "  ");
    buf_text(page->out, term);
    size_t at = 2 + text_width(term);
    if (at + 2 > column) {
        buf_char(page->out, '\n');
        at = 0;
    }
    text_blanks(page->out, column - at);
    text_wrap(page->out, meaning, column, column, page->width);
}

void help_add(struct buf *out, const struct screen *screen, const struct command *command)
{
    static const struct help_form form = {add_usage, add_text, add_title, add_item};
    size_t width = screen->width < HELP_WIDTH_MAX ? screen->width : HELP_WIDTH_MAX;
    struct page page = {out, screen, width, false};
    help_tell(&form, &page, command);
}
