/* SPDX-License-Identifier: MIT */
/* One question to a driver: calling a function as what it is, and taking its answer apart. For sim/reading.c. */
#ifndef VRAM_SIM_ASK_H
#define VRAM_SIM_ASK_H

#include "sim/reading.h"
#include "sim/shape.h"

/* Who asks, and about what. */
struct asker {
    const struct library *library;
    struct reading *reading;
    nvml_device device;
    int gpu, instance;
    uint64_t call_began;
    nvml_ret call_code;
};

/* A new answer, as of a function that is not exported. */
struct answer *ask_begin(struct asker *asker, enum function function, unsigned argument);
void ask_add_number(struct answer *answer, uint64_t number);
void ask_add_text(struct answer *answer, const char *text, size_t size);

bool ask_has(const struct asker *asker, enum function function);
/* The version in a function's name: 1 where there is none. */
unsigned ask_version(enum function f);

/* Asks a function, by its shape. */
void ask(struct asker *asker, enum function f);
void ask_structure(struct asker *asker, enum function f, const struct shape *shape);

void ask_call_begins(struct asker *asker, enum function function);
nvml_ret ask_call_ends(struct asker *asker, enum function function);

/* Calls function `f` as what it is. `types` are the types of its parameters. */
#define CALL(asker, f, types, ...)                                                                 \
    (ask_call_begins(asker, f),                                                                    \
     (asker)->call_code =                                                                          \
         ((nvml_ret(*) types)(uintptr_t)(asker)->library->functions[f])(__VA_ARGS__),              \
     ask_call_ends(asker, f))

#endif
