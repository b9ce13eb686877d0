/* SPDX-License-Identifier: MIT */
#include "sim/session.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim/locate.h"

struct session session = {.mutex = PTHREAD_MUTEX_INITIALIZER, .sim = {.file = {.fd = -1}}};

int vram_sim_select(const char *spec);
const char *vram_sim_error(void);

/* A forked child has a copy of the session, whose lock some thread may have held that does not exist here.
 * The machine is opened anew, so that locks and $SELF are the child's own. */
static void drop_inherited(void)
{
    pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
    memcpy(&session.mutex, &fresh, sizeof(fresh));
    if (session.open) {
        sim_close(&session.sim);
    }
    session.open = false;
    session.starts = 0;
    atomic_store(&session.calls, 0);
    for (size_t i = 0; i < WORLD_GPUS; i++) {
        atomic_store(&session.busy[i], 0);
    }
}

void session_lock(void)
{
    int self = getpid(), owner = atomic_load(&session.owner);
    if (owner && owner != self) {
        drop_inherited();
    }
    atomic_store(&session.owner, self);
    (void)pthread_mutex_lock(&session.mutex);
}

void session_unlock(void)
{
    (void)pthread_mutex_unlock(&session.mutex);
}

static int open_spec(const char *spec)
{
    if (strlen(spec) >= sizeof(session.spec)) {
        return complain(&session.complaint, "the name of the simulated machine is too long");
    }
    int r = sim_open(&session.sim, spec, &session.complaint);
    session.open = r == 0;
    if (r == 0 && spec != session.spec) {
        (void)snprintf(session.spec, sizeof(session.spec), "%s", spec);
    }
    return r;
}

int session_open(void)
{
    const char *chosen = getenv("VRAM_SIM");
    if (session.open) {
        return 0;
    }
    if (session.spec[0]) {
        chosen = session.spec;
    }
    return open_spec(chosen && chosen[0] ? chosen : LOCATE_DEFAULT);
}

bool session_is_strict(void)
{
    const char *strict = getenv("VRAM_SIM_STRICT");
    return (strict && strcmp(strict, "1") == 0) || (session.open && session.sim.now->strict);
}

void session_breach(enum function function, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "vram-sim: strict: %s: %s\n", function_name(function), text);
    abort();
}

__attribute__((__visibility__("default"))) int vram_sim_select(const char *spec)
{
    session_lock();
    int r = 0;
    bool same = session.starts && spec && strcmp(spec, session.spec) == 0;
    if (!spec) {
        r = complain(&session.complaint, "no simulated machine was named");
    } else if (!same && session.starts) {
        (void)complain(&session.complaint,
                       "this process uses the simulated machine '%.80s' already", session.spec);
        r = -EBUSY;
    } else if (!same) {
        /* Also the one that is open already: its file may be another by now. */
        if (session.open) {
            sim_close(&session.sim);
        }
        session.open = false;
        session.spec[0] = '\0';
        r = open_spec(spec);
    }
    session_unlock();
    return r;
}

__attribute__((__visibility__("default"))) const char *vram_sim_error(void)
{
    return session.complaint.text;
}

/* When the library is unloaded. A call that still hangs in another thread keeps what it uses. */
__attribute__((__destructor__)) static void unload(void)
{
    if (session.open && atomic_load(&session.owner) == getpid() &&
        atomic_load(&session.calls) == 0) {
        sim_close(&session.sim);
        session.open = false;
    }
}
