/* SPDX-License-Identifier: MIT */
/*
 * A table for people: columns as wide as their longest cell, without rules. On a terminal that is
 * too narrow the flexible columns are cut, the widest first. A column that has no value in any row
 * is left out, unless it is kept.
 *
 * Every command that prints a table makes one; failure is sticky as with struct buf, told by the
 * buffer that the table is added to.
 */
#ifndef VRAM_CLI_TABLE_H
#define VRAM_CLI_TABLE_H

#include "cli/screen.h"
#include "common/buf.h"

#define TABLE_RIGHT 0x1u    /* numbers */
#define TABLE_FLEXIBLE 0x2u /* may be cut */
#define TABLE_KEPT 0x4u     /* shown even where no row has a value */

struct table_column {
    const char *title;
    unsigned flags;
};

struct table {
    const struct screen *screen;
    const struct table_column *columns;
    size_t column_count;
    char **cells; /* row by row */
    size_t cell_count, capacity;
    bool failed;
};

void table_init(struct table *table, const struct screen *screen,
                const struct table_column *columns, size_t column_count);
void table_done(struct table *table);

/* Adds the next cell, left to right, row by row. The text is made safe; NULL is no value. */
void table_cell(struct table *table, const char *text);

/* Adds the table to `out`, header first, every line behind `indent` blanks. */
void table_print(struct table *table, struct buf *out, size_t indent);

#endif
