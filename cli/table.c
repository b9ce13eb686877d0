/* SPDX-License-Identifier: MIT */
#include "cli/table.h"

#include "cli/text.h"
#include <stdint.h>
#include <stdlib.h>

enum { COLUMN_MAX = 16, GAP = 2, FLEXIBLE_MIN = 8 };

/* How wide each column is printed; 0: left out. */
struct layout {
    size_t widths[COLUMN_MAX];
};

void table_init(struct table *table, const struct screen *screen,
                const struct table_column *columns, size_t column_count)
{
    *table = (struct table){.screen = screen, .columns = columns, .column_count = column_count};
    table->failed = column_count > COLUMN_MAX;
}

void table_done(struct table *table)
{
    for (size_t i = 0; i < table->cell_count; i++) {
        free(table->cells[i]);
    }
    free(table->cells);
    *table = (struct table){0};
}

static bool reserve_cell(struct table *table)
{
    if (table->cell_count < table->capacity) {
        return true;
    }
    size_t capacity = table->capacity ? table->capacity * 2 : 64;
    char **cells = capacity > SIZE_MAX / sizeof(*cells)
                       ? NULL
                       : realloc(table->cells, capacity * sizeof(*cells));
    if (!cells) {
        return false;
    }
    table->cells = cells;
    table->capacity = capacity;
    return true;
}

void table_cell(struct table *table, const char *text)
{
    struct buf safe = BUF_INIT;
    if (table->failed || !reserve_cell(table)) {
        table->failed = true;
        return;
    }
    char *cell = NULL;
    if (text) {
        text_safe(&safe, text, table->screen->utf8);
        cell = buf_steal(&safe, NULL);
        table->failed = cell == NULL;
    }
    table->cells[table->cell_count++] = cell;
}

static const char *cell_text(const struct table *table, size_t row, size_t column)
{
    const char *text = table->cells[row * table->column_count + column];
    return text ? text : screen_symbol(table->screen, SYMBOL_UNKNOWN);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t natural_width(const struct table *table, size_t column, size_t rows)
{
    bool any = table->columns[column].flags & TABLE_KEPT;
    size_t width = text_width(table->columns[column].title);
    for (size_t row = 0; row < rows; row++) {
        any = any || table->cells[row * table->column_count + column];
        width = larger(width, text_width(cell_text(table, row, column)));
    }
    return any ? width : 0;
}

/* Takes what is too much from the widest flexible column, column by column. */
static void shrink(const struct table *table, struct layout *layout, size_t total, size_t room)
{
    while (total > room) {
        size_t widest = COLUMN_MAX;
        for (size_t i = 0; i < table->column_count; i++) {
            if ((table->columns[i].flags & TABLE_FLEXIBLE) && layout->widths[i] > FLEXIBLE_MIN &&
                (widest == COLUMN_MAX || layout->widths[i] > layout->widths[widest])) {
                widest = i;
            }
        }
        if (widest == COLUMN_MAX) {
            return;
        }
        layout->widths[widest]--;
        total--;
    }
}

static struct layout lay_out(const struct table *table, size_t rows, size_t indent)
{
    struct layout layout = {{0}};
    size_t total = indent;
    for (size_t i = 0; i < table->column_count; i++) {
        layout.widths[i] = natural_width(table, i, rows);
        total += layout.widths[i] ? layout.widths[i] + (total > indent ? GAP : 0) : 0;
    }
    if (table->screen->terminal) {
        shrink(table, &layout, total, table->screen->width);
    }
    return layout;
}

/* Adds one row; blanks are written only once something follows them. */
static void add_row(const struct table *table, const struct layout *layout,
                    const char *const *cells, struct buf *out, size_t indent)
{
    size_t blanks = indent;
    const char *mark = screen_symbol(table->screen, SYMBOL_CUT);
    for (size_t i = 0; i < table->column_count; i++) {
        size_t width = layout->widths[i];
        if (width == 0) {
            continue;
        }
        size_t columns = text_width(cells[i]);
        if (columns == 0) {
            blanks += width + GAP;
            continue;
        }
        size_t rest = columns < width ? width - columns : 0;
        bool right = table->columns[i].flags & TABLE_RIGHT;
        text_blanks(out, blanks + (right ? rest : 0));
        text_cut(out, cells[i], width, mark);
        blanks = GAP + (right ? 0 : rest);
    }
}

void table_print(struct table *table, struct buf *out, size_t indent)
{
    const char *cells[COLUMN_MAX] = {NULL};
    if (table->failed) {
        out->failed = true;
        return;
    }
    size_t rows = table->cell_count / table->column_count;
    struct layout layout = lay_out(table, rows, indent);
    for (size_t i = 0; i < table->column_count; i++) {
        cells[i] = table->columns[i].title;
    }
    buf_text(out, screen_style(table->screen, STYLE_FAINT));
    add_row(table, &layout, cells, out, indent);
    buf_format(out, "%s\n", screen_plain(table->screen));
    for (size_t row = 0; row < rows; row++) {
        for (size_t i = 0; i < table->column_count; i++) {
            cells[i] = cell_text(table, row, i);
        }
        add_row(table, &layout, cells, out, indent);
        buf_char(out, '\n');
    }
}
