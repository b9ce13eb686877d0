/* SPDX-License-Identifier: MIT */
#include "top/pen.h"

#include "cli/text.h"
#include "common/buf.h"
#include <curses.h>
#include <stdarg.h>
#include <stdio.h>

enum { GAP = 2, PAIR_GOOD = 1, PAIR_WARN = 2, PAIR_BAD = 3 };

void pen_colours(void)
{
    if (has_colors()) {
        (void)start_color();
        (void)use_default_colors();
        (void)init_pair(PAIR_GOOD, COLOR_GREEN, -1);
        (void)init_pair(PAIR_WARN, COLOR_YELLOW, -1);
        (void)init_pair(PAIR_BAD, COLOR_RED, -1);
    }
}

static void begin_style(const struct pen *pen, enum style style)
{
    static const struct {
        attr_t attributes;
        short pair;
    } looks[] = {
        [STYLE_NONE] = {A_NORMAL, 0},       [STYLE_STRONG] = {A_BOLD, 0},
        [STYLE_FAINT] = {A_DIM, 0},         [STYLE_GOOD] = {A_NORMAL, PAIR_GOOD},
        [STYLE_WARN] = {A_BOLD, PAIR_WARN}, [STYLE_BAD] = {A_BOLD, PAIR_BAD},
    };
    bool coloured = pen->screen->colour && has_colors();
    (void)attr_set(looks[style].attributes | (pen->reversed ? A_REVERSE : A_NORMAL),
                   coloured ? looks[style].pair : 0, NULL);
}

struct pen pen_at(const struct screen *screen, int line, size_t width)
{
    (void)move(line, 0);
    return (struct pen){.screen = screen, .line = line, .width = width};
}

/* Text that is safe already. */
static void put(struct pen *pen, enum style style, const char *text)
{
    struct buf cut CLEANUP(buf_done) = BUF_INIT;
    size_t room = pen->width - pen->at, width = text_width(text);
    if (room == 0) {
        return;
    }
    if (width > room) {
        text_cut(&cut, text, room, screen_symbol(pen->screen, SYMBOL_CUT));
        text = cut.data ? cut.data : "";
        width = text_width(text);
    }
    begin_style(pen, style);
    (void)mvaddstr(pen->line, (int)pen->at, text);
    (void)standend();
    pen->at += width;
}

void pen_text(struct pen *pen, enum style style, const char *text)
{
    struct buf safe CLEANUP(buf_done) = BUF_INIT;
    text_safe(&safe, text, pen->screen->utf8);
    put(pen, style, safe.data ? safe.data : "");
}

void pen_format(struct pen *pen, enum style style, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    pen_text(pen, style, text);
}

void pen_cell(struct pen *pen, enum style style, const char *text, size_t width, bool right)
{
    struct buf safe CLEANUP(buf_done) = BUF_INIT, cut CLEANUP(buf_done) = BUF_INIT;
    text_safe(&safe, text, pen->screen->utf8);
    text_cut(&cut, safe.data ? safe.data : "", width, screen_symbol(pen->screen, SYMBOL_CUT));
    size_t taken = text_width(cut.data ? cut.data : ""), start = pen->at;
    if (right) {
        pen_to(pen, start + width - taken);
    }
    put(pen, style, cut.data ? cut.data : "");
    pen_to(pen, start + width + GAP);
}

void pen_symbols(struct pen *pen, enum style style, const char *symbol, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        put(pen, style, symbol);
    }
}

void pen_to(struct pen *pen, size_t column)
{
    column = column < pen->width ? column : pen->width;
    begin_style(pen, STYLE_NONE);
    for (; pen->at < column; pen->at++) {
        (void)mvaddch(pen->line, (int)pen->at, ' ');
    }
    (void)standend();
}

void pen_end(struct pen *pen)
{
    pen_to(pen, pen->width);
}
