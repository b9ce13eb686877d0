/* SPDX-License-Identifier: MIT */
#include "sim/words.h"

#include "common/size.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int complain(struct complaint *complaint, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(complaint->text, sizeof(complaint->text), format, arguments);
    va_end(arguments);
    return -EINVAL;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static int hexadecimal_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *digit = c ? strchr(digits, c | 0x20) : NULL;
    return digit ? (int)(digit - digits) : -1;
}

/* What stands behind a backslash: one of the two characters that would mean something else, or a byte as xHH, which is not 0.
 * How many characters that took; 0: it is neither. */
static size_t read_escape(const char *text, size_t length, char *ret)
{
    if (length && (text[0] == '"' || text[0] == '\\')) {
        *ret = text[0];
        return 1;
    }
    int high = length > 2 && text[0] == 'x' ? hexadecimal_digit(text[1]) : -1;
    int low = high < 0 ? -1 : hexadecimal_digit(text[2]);
    if (low < 0 || high + low == 0) {
        return 0;
    }
    *ret = (char)(high << 4 | low);
    return 3;
}

int words_split(struct words *words, const char *line, size_t length, struct complaint *complaint)
{
    words->count = words->next = 0;
    if (length > WORDS_LINE_MAX) {
        return complain(complaint, "the line is longer than %d bytes", WORDS_LINE_MAX);
    }
    bool quoted = false, inside = false;
    char *out = words->text;
    for (size_t i = 0; i < length; i++) {
        char c = line[i];
        if ((unsigned char)c < ' ' && !is_blank(c)) {
            return complain(complaint, "control characters are not text");
        }
        if (!inside && c == '#') {
            break;
        }
        if (!quoted && is_blank(c)) {
            if (inside) {
                *out++ = '\0';
            }
            inside = false;
            continue;
        }
        if (!inside) {
            if (words->count == WORDS_MAX) {
                return complain(complaint, "more than %d words in a line", WORDS_MAX);
            }
            words->word[words->count++] = out;
            inside = true;
        }
        if (quoted && c == '\\') {
            size_t used = read_escape(line + i + 1, length - i - 1, out);
            *out = used ? *out : c; /* before anything else it is itself */
            out++;
            i += used;
        } else if (c == '"') {
            quoted = !quoted;
        } else {
            *out++ = c;
        }
    }
    *out = '\0';
    return quoted ? complain(complaint, "a quote is not closed") : 0;
}

char *words_next(struct words *words)
{
    return words->next < words->count ? words->word[words->next++] : NULL;
}

char *words_value(char *word)
{
    char *equals = strchr(word, '=');
    if (!equals) {
        return NULL;
    }
    *equals = '\0';
    return equals + 1;
}

int value_number(const char *key, const char *text, uint64_t most, uint64_t *ret,
                 struct complaint *complaint)
{
    uint64_t value = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (digit > most || value > (most - digit) / 10) {
            break;
        }
        value = value * 10 + digit;
    }
    if (at == text || *at) {
        return complain(complaint, "%s=%.40s is not a number from 0 to %llu", key, text,
                        (unsigned long long)most);
    }
    *ret = value;
    return 0;
}

int value_thousandths(const char *key, const char *text, uint64_t most, uint64_t *ret,
                      struct complaint *complaint)
{
    char whole[24] = "", part[4] = "000";
    size_t length = strcspn(text, ".");
    size_t decimals = text[length] ? strlen(text + length + 1) : 0;
    uint64_t value = 0, thousandths = 0;
    struct complaint ignored;
    bool possible =
        length < sizeof(whole) && decimals < sizeof(part) && (decimals || !text[length]);
    if (possible) {
        memcpy(whole, text, length);
        memcpy(part, text + length + 1, decimals);
    }
    if (!possible || value_number(key, whole, most, &value, &ignored) < 0 ||
        value_number(key, part, 999, &thousandths, &ignored) < 0) {
        return complain(complaint,
                        "%s=%.40s is not a number from 0 to %llu with up to three decimals", key,
                        text, (unsigned long long)most);
    }
    *ret = value * 1000 + thousandths;
    return 0;
}

int value_size(const char *key, const char *text, uint64_t *ret, struct complaint *complaint)
{
    uint64_t bytes = 0;
    bool bare = false;
    if (strcmp(text, "0") != 0) {
        uint32_t percent;
        int r = strchr(text, '%') ? -EINVAL : margin_parse(text, &bytes, &percent);
        if (r < 0) {
            return complain(complaint, "%s=%.40s is not a size; write it as 310M or 24G", key,
                            text);
        }
        char last = text[strlen(text) - 1];
        bare = last >= '0' && last <= '9';
    }
    if (bare) {
        return complain(complaint, "%s=%.40s has no unit; write %.40sM for MiB", key, text, text);
    }
    *ret = bytes;
    return 0;
}

int value_time(const char *key, const char *text, uint64_t *ret, struct complaint *complaint)
{
    char milliseconds[48];
    size_t length = strlen(text);
    uint64_t ns = 0;
    int r = -EINVAL;
    if (length > 2 && length < sizeof(milliseconds) && strcmp(text + length - 2, "us") == 0) {
        (void)snprintf(milliseconds, sizeof(milliseconds), "%.*sms", (int)length - 2, text);
        r = duration_parse(milliseconds, &ns);
        ns /= 1000;
    } else if (length && (text[length - 1] < '0' || text[length - 1] > '9')) {
        r = duration_parse(text, &ns);
    }
    if (r < 0) {
        return complain(complaint, "%s: '%.40s' is not a time; write it as 250us, 1500ms, 2s or 5m",
                        key, text);
    }
    *ret = ns;
    return 0;
}

int value_choice(const char *key, const char *text, const char *const *names, uint64_t *ret,
                 struct complaint *complaint)
{
    char known[160] = "";
    size_t length = 0;
    for (uint64_t i = 0; names[i]; i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = i;
            return 0;
        }
        int added =
            snprintf(known + length, sizeof(known) - length, "%s%s", i ? ", " : "", names[i]);
        length += added > 0 && (size_t)added < sizeof(known) - length ? (size_t)added : 0;
    }
    return complain(complaint, "%s=%.40s: known are %s", key, text, known);
}

int value_switch(const char *key, const char *text, uint64_t *ret, struct complaint *complaint)
{
    static const char *const names[] = {"off", "on", NULL};
    return value_choice(key, text, names, ret, complaint);
}

int value_text(const char *key, const char *text, char *ret, size_t size,
               struct complaint *complaint)
{
    size_t length = strlen(text);
    if (length == 0 || length >= size) {
        return complain(complaint, "%s=%.40s has %zu bytes; 1 to %zu are possible", key, text,
                        length, size - 1);
    }
    memcpy(ret, text, length + 1);
    return 0;
}

/* Up to `digits` hexadecimal digits; NULL where there are none. */
static const char *hexadecimal(const char *text, int digits, uint32_t *ret)
{
    uint32_t value = 0;
    const char *at = text;
    for (; at - text < digits; at++) {
        static const char known[] = "0123456789abcdef";
        const char *digit = *at ? strchr(known, *at | 0x20) : NULL;
        if (!digit) {
            break;
        }
        value = value * 16 + (uint32_t)(digit - known);
    }
    *ret = value;
    return at == text ? NULL : at;
}

int pci_parse(const char *text, struct pci_address *ret)
{
    uint32_t parts[3];
    size_t count = 0;
    const char *at = text;
    do {
        at = hexadecimal(at + (count ? 1 : 0), 8, &parts[count]);
        if (!at) {
            return -EINVAL;
        }
        count++;
    } while (count < 3 && *at == ':');
    uint32_t function = 0;
    if (*at == '.') {
        at = hexadecimal(at + 1, 1, &function);
    }
    if (!at || *at || count < 2 || parts[count - 2] > 0xFF || parts[count - 1] > 0x1F) {
        return -EINVAL;
    }
    *ret = (struct pci_address){count == 3 ? parts[0] : 0, parts[count - 2], parts[count - 1],
                                function};
    return 0;
}
