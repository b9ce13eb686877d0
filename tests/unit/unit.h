/* SPDX-License-Identifier: MIT */
/* What every test program includes: cmocka, and the headers that it asks for before it. */
#ifndef VRAM_TESTS_UNIT_H
#define VRAM_TESTS_UNIT_H

#include "common/attr.h"
#include "common/size.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TEST(function) cmocka_unit_test(function)

#endif
