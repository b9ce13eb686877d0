/* SPDX-License-Identifier: MIT */
/*
 * vram-top: the machine's GPUs on the terminal, live. A program of its own, for ncurses costs every program that links
 * it some of its start; `vram top` becomes it.
 */
#include "top/asker.h"
#include "top/draw.h"
#include "top/keys.h"

#include <curses.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_USAGE = 2, EXIT_OTHER = 4, SELECTORS_MAX = 64 };

struct choice {
    const char *driver, *colour;
    const char *selectors[SELECTORS_MAX + 1];
    size_t selector_count;
    uint32_t flags;
    uint64_t period_ns;
};

static const struct option long_options[] = {
    {"driver", required_argument, NULL, 'd'},   {"gpu", required_argument, NULL, 'g'},
    {"wake", no_argument, NULL, 'w'},           {"color", required_argument, NULL, 'c'},
    {"every-ns", required_argument, NULL, 'e'}, {NULL, 0, NULL, 0},
};

/* `vram top` has seen to it that they make sense. */
static int read_arguments(int argc, char **argv, struct choice *choice)
{
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == 'd') {
            choice->driver = optarg;
        } else if (option == 'g' && choice->selector_count < SELECTORS_MAX) {
            choice->selectors[choice->selector_count++] = optarg;
        } else if (option == 'w') {
            choice->flags |= VRAM_OPEN_WAKE;
        } else if (option == 'c') {
            choice->colour = optarg;
        } else if (option == 'e') {
            choice->period_ns = strtoull(optarg, NULL, 10);
        } else {
            return -EINVAL;
        }
    }
    bool possible = choice->period_ns >= PERIOD_MIN_NS && choice->period_ns <= PERIOD_MAX_NS;
    return optind == argc && possible ? 0 : -EINVAL;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* What the asker has learnt becomes the model's, unless the picture is to stand still. */
static void take_news(struct keys *keys)
{
    struct findings findings;
    if (!asker_take(keys->asker, &findings)) {
        return;
    }
    if (findings.said[0]) {
        (void)snprintf(keys->message, sizeof(keys->message), "%s", findings.said);
    }
    if (keys->model->paused || (!findings.snapshot && keys->model->findings.snapshot)) {
        if (!findings.snapshot) {
            (void)snprintf(keys->message, sizeof(keys->message), "%s", findings.problem);
        }
        findings_done(&findings);
    } else if (model_take(keys->model, &findings) < 0) {
        (void)snprintf(keys->message, sizeof(keys->message), "out of memory");
    }
}

/* Until somebody quits, or the terminal is gone. */
static void follow(struct keys *keys, struct drawing *drawing)
{
    struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                           {.fd = asker_fd(keys->asker), .events = POLLIN}};
    for (;;) {
        drawing->mode = keys->mode;
        drawing->message = keys->message;
        drawing->now_ns = now_ns();
        draw(drawing, keys->model);
        if (poll(fds, ARRAY_LENGTH(fds), -1) < 0 && errno != EINTR) {
            return;
        }
        if (fds[0].revents & (POLLHUP | POLLERR | POLLNVAL)) {
            return;
        }
        take_news(keys);
        for (int key = getch(); key != ERR; key = getch()) {
            if (!keys_press(keys, key)) {
                return;
            }
        }
    }
}

static int run(const struct choice *choice)
{
    static struct model model = {.only = UINT32_MAX};
    struct vram_options options = VRAM_OPTIONS_INIT;
    struct drawing drawing = {.message = ""};
    struct keys keys = {.model = &model};
    struct vram *vram;
    options.driver = choice->driver;
    options.flags = choice->flags;
    if (vram_open(&vram, &options) < 0) {
        (void)fprintf(stderr, "vram: %s\n", vram_error(NULL));
        return EXIT_OTHER;
    }
    model.selectors = choice->selectors;
    model.period_ns = choice->period_ns;
    keys.asker = asker_start(vram, choice->period_ns);
    if (!keys.asker) {
        (void)fprintf(stderr, "vram: no thread could be started: %s\n", strerror(errno));
        return EXIT_OTHER;
    }
    screen_init(&drawing.screen, choice->colour);
    if (!draw_begin(&drawing)) {
        (void)fprintf(stderr,
                      "vram: this terminal (TERM=%s) is not known; `vram watch` needs none\n",
                      getenv("TERM") ? getenv("TERM") : "");
        return EXIT_OTHER;
    }
    follow(&keys, &drawing);
    draw_end();
    return EXIT_SUCCESS; /* the asker may be in a driver call that never returns: the kernel takes all back */
}

int main(int argc, char **argv)
{
    static struct choice choice = {.colour = "auto", .period_ns = 1000000000};
    if (read_arguments(argc, argv, &choice) < 0) {
        (void)fprintf(stderr, "vram-top: this is `vram top`; `vram help top` tells how\n");
        return EXIT_USAGE;
    }
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        (void)fprintf(stderr,
                      "vram: top needs a terminal; `vram watch` and `vram status` do not\n");
        return EXIT_USAGE;
    }
    return run(&choice);
}
