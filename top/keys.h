/* SPDX-License-Identifier: MIT */
/* What keys do. */
#ifndef VRAM_TOP_KEYS_H
#define VRAM_TOP_KEYS_H

#include "top/asker.h"
#include "top/draw.h"
#include "top/model.h"

struct keys {
    struct model *model;
    struct asker *asker;
    enum mode mode;
    char message[ASKER_TEXT_MAX + 64]; /* in the last line until the next key */
    char ending[20];                   /* the lease that MODE_CONFIRM asks about */
};

/* False: the end. */
bool keys_press(struct keys *keys, int key);

#endif
