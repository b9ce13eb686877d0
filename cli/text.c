/* SPDX-License-Identifier: MIT */
#include "cli/text.h"

#include "common/utf8.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

/* Characters of valid UTF-8 that are not shown as they are. */
static bool is_treacherous(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x0000, 0x001F},    {0x007F, 0x009F}, /* controls */
        {0x00AD, 0x00AD},    {0x061C, 0x061C}, /* soft hyphen; Arabic letter mark */
        {0x200B, 0x200F},    {0x2028, 0x202E}, /* invisible; separators, embeddings, overrides */
        {0x2060, 0x206F},    {0xFE00, 0xFE0F}, /* joiners, isolates; variation selectors */
        {0xFEFF, 0xFEFF},    {0xFFF0, 0xFFFF}, /* byte order mark; specials */
        {0xE0000, 0x10FFFF},                   /* tags and private planes */
    };
    for (size_t i = 0; i < ARRAY_LENGTH(ranges); i++) {
        if (c >= ranges[i].first && c <= ranges[i].last) {
            return true;
        }
    }
    return false;
}

/* Adds the character at `text`, escaped where it must be. Returns its length in bytes. */
static size_t add_safe(struct buf *buf, const char *text, bool utf8)
{
    uint32_t c;
    size_t length = utf8_next(text, &c);
    if (c == UTF8_INVALID) {
        buf_format(buf, "\\x%02x", (unsigned)(unsigned char)*text);
    } else if (!is_treacherous(c) && (utf8 || c < 0x80)) {
        buf_add(buf, text, length);
    } else if (c < 0x80) {
        buf_format(buf, "\\x%02x", (unsigned)c);
    } else {
        buf_format(buf, c > 0xFFFF ? "\\U%08x" : "\\u%04x", (unsigned)c);
    }
    return length;
}

void text_safe(struct buf *buf, const char *text, bool utf8)
{
    while (*text) {
        text += add_safe(buf, text, utf8);
    }
}

const char *text_quote(const char *text, char quoted[TEXT_QUOTED_MAX])
{
    static const char cut[] = "...'";
    size_t length = 0;
    quoted[length++] = '\'';
    while (*text) {
        uint32_t c;
        size_t step = utf8_next(text, &c);
        if (length + step + sizeof(cut) > TEXT_QUOTED_MAX) {
            memcpy(quoted + length, cut, sizeof(cut));
            return quoted;
        }
        memcpy(quoted + length, text, step);
        length += step;
        text += step;
    }
    memcpy(quoted + length, "'", 2);
    return quoted;
}

/* Columns of one character: none for combining marks, two for most of East Asia. */
static size_t char_width(uint32_t c)
{
    if (c < 0x80) {
        return 1;
    }
    int width = wcwidth((wchar_t)c);
    return width < 0 ? 1 : (size_t)width;
}

size_t text_width(const char *text)
{
    size_t width = 0;
    while (*text) {
        uint32_t c;
        text += utf8_next(text, &c);
        width += char_width(c);
    }
    return width;
}

void text_cut(struct buf *buf, const char *text, size_t width, const char *mark)
{
    if (text_width(text) <= width) {
        buf_text(buf, text);
        return;
    }
    size_t room = width > text_width(mark) ? width - text_width(mark) : 0;
    while (*text) {
        uint32_t c;
        size_t length = utf8_next(text, &c);
        size_t columns = char_width(c);
        if (columns > room) {
            break;
        }
        buf_add(buf, text, length);
        room -= columns;
        text += length;
    }
    buf_text(buf, mark);
    text_blanks(buf, room); /* half of a wide character */
}

void text_blanks(struct buf *buf, size_t count)
{
    static const char blanks[] = "                                ";
    while (count > 0) {
        size_t step = count < sizeof(blanks) - 1 ? count : sizeof(blanks) - 1;
        buf_add(buf, blanks, step);
        count -= step;
    }
}

/* Columns of a word of `length` bytes. */
static size_t word_width(const char *word, size_t length)
{
    size_t width = 0;
    for (const char *end = word + length; word < end;) {
        uint32_t c;
        word += utf8_next(word, &c);
        width += char_width(c);
    }
    return width;
}

/* One line of the author's, up to its newline, on as many lines as it needs; returns its end. */
static const char *wrap_line(struct buf *buf, const char *line, size_t at, size_t indent,
                             size_t width)
{
    bool first = true; /* the first word of a line goes there whatever its length */
    while (*line && *line != '\n') {
        size_t blanks = strspn(line, " ");
        size_t length = strcspn(line + blanks, " \n");
        size_t columns = word_width(line + blanks, length);
        if (length > 0 && !first && at + blanks + columns > width) {
            buf_char(buf, '\n');
            text_blanks(buf, indent);
            at = indent;
            buf_add(buf, line + blanks, length);
        } else if (length > 0) {
            text_blanks(buf, blanks);
            at += blanks;
            buf_add(buf, line + blanks, length);
        }
        at += columns;
        line += blanks + length;
        first = false;
    }
    buf_char(buf, '\n');
    return line;
}

void text_wrap(struct buf *buf, const char *text, size_t at, size_t indent, size_t width)
{
    const char *rest = wrap_line(buf, text, at, indent, width);
    while (*rest == '\n') {
        rest++;
        if (*rest && *rest != '\n') {
            text_blanks(buf, indent);
        }
        rest = wrap_line(buf, rest, indent, indent, width);
    }
}

const char *text_number(uint64_t number, char text[TEXT_NUMBER_MAX])
{
    char digits[TEXT_NUMBER_MAX];
    int length = snprintf(digits, sizeof(digits), "%" PRIu64, number);
    char *end = text;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) {
            *end++ = ',';
        }
        *end++ = digits[i];
    }
    *end = '\0';
    return text;
}

unsigned text_distance(const char *a, const char *b)
{
    enum { WORD_MAX = 32 };
    size_t length = strlen(b);
    if (length >= WORD_MAX || strlen(a) >= WORD_MAX) {
        return 255;
    }
    unsigned row[WORD_MAX];
    for (size_t j = 0; j <= length; j++) {
        row[j] = (unsigned)j;
    }
    for (size_t i = 1; a[i - 1]; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= length; j++) {
            unsigned replace = diagonal + (a[i - 1] != b[j - 1]);
            unsigned shorter = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = replace < shorter ? replace : shorter;
        }
    }
    return row[length];
}
