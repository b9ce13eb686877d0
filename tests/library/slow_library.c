/* SPDX-License-Identifier: MIT */
/* Takes its time to be loaded: says 'a' when that begins and 'z' when it ends. No driver's library. */
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define LOADS_MS 300

static void say(const char *word)
{
    const char *fd = getenv("SLOW_LIBRARY_SAYS");
    if (fd && write((int)strtol(fd, NULL, 10), word, 1) != 1) {
        abort();
    }
}

__attribute__((constructor)) static void load(void)
{
    say("a");
    (void)poll(NULL, 0, LOADS_MS);
    say("z");
}
