/* SPDX-License-Identifier: MIT */
#include "top/keys.h"

#include <curses.h>
#include <stdio.h>
#include <string.h>

enum { KEY_ESCAPE = 27, KEY_DELETE = 127, KEY_TAB = '\t', KEY_RETURN = '\r', PAGE = 10 };

static void arrange(struct keys *keys)
{
    if (model_arrange(keys->model) < 0) {
        (void)snprintf(keys->message, sizeof(keys->message), "out of memory");
    }
}

/* ---- The filter ----------------------------------------------------------------------------- */

static void press_in_filter(struct keys *keys, int key)
{
    char *filter = keys->model->filter;
    size_t length = strlen(filter);
    if (key == KEY_RETURN || key == '\n' || key == KEY_ENTER) {
        keys->mode = MODE_PLAIN;
    } else if (key == KEY_ESCAPE) {
        filter[0] = '\0';
        keys->mode = MODE_PLAIN;
    } else if (key == KEY_BACKSPACE || key == KEY_DELETE || key == '\b') {
        while (length > 0 && ((unsigned char)filter[length - 1] & 0xC0) == 0x80) {
            length--; /* the rest of a character of several bytes */
        }
        filter[length ? length - 1 : 0] = '\0';
    } else if (key >= ' ' && key <= UINT8_MAX && length + 1 < FILTER_MAX) {
        filter[length] = (char)key;
        filter[length + 1] = '\0';
    }
    arrange(keys);
}

/* ---- Ending a lease ------------------------------------------------------------------------- */

static void ask_to_end(struct keys *keys)
{
    const struct vram_lease *lease = model_chosen_lease(keys->model);
    if (keys->model->pane != PANE_LEASES || !lease) {
        (void)snprintf(keys->message, sizeof(keys->message),
                       keys->model->findings.leases
                           ? "Tab goes to the leases; x ends the one chosen"
                           : "there are no leases: no daemon runs");
        return;
    }
    (void)snprintf(keys->ending, sizeof(keys->ending), "%s", lease->id);
    (void)snprintf(keys->message, sizeof(keys->message),
                   "end lease %.8s of %s%s%s? y: yes; any other key: no. Nothing is killed.",
                   lease->id, lease->user ? lease->user : "somebody", lease->label ? ", " : "",
                   lease->label ? lease->label : "");
    keys->mode = MODE_CONFIRM;
}

static void confirm(struct keys *keys, int key)
{
    keys->mode = MODE_PLAIN;
    keys->message[0] = '\0';
    if (key == 'y' || key == 'Y') {
        asker_end(keys->asker, keys->ending);
    }
}

/* ---- The rest ------------------------------------------------------------------------------- */

static void change_period(struct keys *keys, bool longer)
{
    static const uint64_t steps_ms[] = {100, 250, 500, 1000, 2000, 5000, 10000, 30000, 60000};
    uint64_t now_ms = keys->model->period_ns / 1000000, chosen_ms = now_ms;
    for (size_t i = 0; i < ARRAY_LENGTH(steps_ms); i++) {
        if (longer && steps_ms[i] > now_ms) {
            chosen_ms = steps_ms[i];
            break;
        }
        if (!longer && steps_ms[i] < now_ms) {
            chosen_ms = steps_ms[i];
        }
    }
    keys->model->period_ns = chosen_ms * 1000000;
    asker_set_period(keys->asker, keys->model->period_ns);
}

static void choose_gpu(struct keys *keys, int key)
{
    uint32_t place = key == '0' ? UINT32_MAX : (uint32_t)(key - '1');
    keys->model->only = place < keys->model->gpu_count ? place : UINT32_MAX;
    arrange(keys);
}

static void press_letter(struct keys *keys, int key)
{
    struct model *model = keys->model;
    switch (key) {
    case '?':
    case 'h':
        keys->mode = MODE_HELP;
        break;
    case '/':
        keys->mode = MODE_FILTER;
        break;
    case KEY_ESCAPE:
        model->filter[0] = '\0';
        model->only = UINT32_MAX;
        arrange(keys);
        break;
    case 's':
        model->sort = (model->sort + 1) % SORT_COUNT;
        arrange(keys);
        break;
    case KEY_TAB:
        model->pane = model->pane == PANE_LEASES ? PANE_PROCESSES : PANE_LEASES;
        break;
    case 'x':
        ask_to_end(keys);
        break;
    case ' ':
        model->paused = !model->paused;
        break;
    case '+':
    case '-':
        change_period(keys, key == '-');
        break;
    default:
        if (key >= '0' && key <= '9') {
            choose_gpu(keys, key);
        }
    }
}

static bool press_to_move(struct keys *keys, int key)
{
    static const struct {
        int key;
        long rows;
    } moves[] = {
        {KEY_UP, -1},       {'k', -1},         {KEY_DOWN, 1},          {'j', 1},
        {KEY_PPAGE, -PAGE}, {KEY_NPAGE, PAGE}, {KEY_HOME, -INT16_MAX}, {KEY_END, INT16_MAX},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(moves); i++) {
        if (moves[i].key == key) {
            model_move(keys->model, moves[i].rows);
            return true;
        }
    }
    return false;
}

bool keys_press(struct keys *keys, int key)
{
    if (key == KEY_RESIZE) {
        return true; /* it is drawn anew after every key */
    }
    if (keys->mode == MODE_CONFIRM) {
        confirm(keys, key);
        return true;
    }
    keys->message[0] = '\0';
    if (keys->mode == MODE_FILTER) {
        press_in_filter(keys, key);
    } else if (keys->mode == MODE_HELP) {
        keys->mode = MODE_PLAIN;
    } else if (key == 'q') {
        return false;
    } else if (!press_to_move(keys, key)) {
        press_letter(keys, key);
    }
    return true;
}
