/* SPDX-License-Identifier: MIT */
/* A command that was built without a reader of JSON cannot read what a daemon remembers. */
#include "cli/past.h"

#include <errno.h>

static int fail(struct past *past)
{
    *past = (struct past){0};
    return -ENOSYS;
}

void past_done(struct past *past)
{
    *past = (struct past){0};
}

int past_take_memory(struct vram *vram, const char *target, struct past *ret_past)
{
    (void)vram;
    (void)target;
    return fail(ret_past);
}

int past_take_processes(struct vram *vram, const char *target, struct past *ret_past)
{
    (void)vram;
    (void)target;
    return fail(ret_past);
}

int past_take_leases(struct vram *vram, const char *target, struct past *ret_past)
{
    (void)vram;
    (void)target;
    return fail(ret_past);
}

int past_take_events(struct vram *vram, const char *target, struct past *ret_past)
{
    (void)vram;
    (void)target;
    return fail(ret_past);
}

int past_take_report(struct vram *vram, const char *target, struct past *ret_past)
{
    (void)vram;
    (void)target;
    return fail(ret_past);
}

int past_take_holders(struct vram *vram, struct past *ret_past)
{
    (void)vram;
    return fail(ret_past);
}

int past_take_needs(struct vram *vram, const char *label, struct past *ret_past)
{
    (void)vram;
    (void)label;
    return fail(ret_past);
}

void past_print(struct buf *out, const void *document)
{
    (void)document;
    buf_text(out, "null");
}
