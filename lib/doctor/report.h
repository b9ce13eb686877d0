/* SPDX-License-Identifier: MIT */
/* The doctor's report, for lib/doctor/exam.c, which fills it. include/vram.h has how it is read. */
#ifndef VRAM_LIB_DOCTOR_REPORT_H
#define VRAM_LIB_DOCTOR_REPORT_H

#include "common/attr.h"
#include "include/vram.h"

/* An empty report; NULL: out of memory. */
struct vram_report *doctor_report_new(void);

/*
 * Adds a finding behind those of its severity; the texts are copied. What cannot be printed
 * (controls, broken UTF-8, marks that turn the writing direction) becomes '?'. `evidence` and
 * `remedy` may be NULL or "": none. 0 or -ENOMEM, the report then being as before.
 */
MUST_CHECK int report_add(struct vram_report *report, const struct vram_finding *finding);

#endif
