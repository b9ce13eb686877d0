/* SPDX-License-Identifier: MIT */
#include "daemon/options.h"

#include "common/size.h"
#include "daemon/gate.h"
#include "include/vram.h"
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "vramd [OPTION…]: promises GPU memory, and tells all who ask how much is left\n"
    "\n"
    "  --driver DRV      auto (default), nvml, nvml:/path/to/lib, sim:NAME; else $VRAM_DRIVER\n"
    "  --socket PATH     where to listen; else $VRAM_SOCKET, else /run/vram/vram.sock for root "
    "and\n"
    "                    $XDG_RUNTIME_DIR/vram/vram.sock for others\n"
    "  --config FILE     default /etc/vram.conf; read again at SIGHUP\n"
    "  --listen ADDR     listen on TCP too, for reading only: ADDR:PORT, [ADDR]:PORT, or PORT of\n"
    "                    127.0.0.1; other machines need a token\n"
    "  --token-file FILE whose token who reads over TCP must send; nobody else may read the file\n"
    "  --on-demand       end after 60 s (or as configured) without leases,\n"
    "                    waiters and requests\n"
    "  --linger TIME     the same after TIME\n"
    "  --ready-fd N      write a line to descriptor N when requests are served, and close it\n"
    "  --history FILE    keep the history there; on: where it belongs, off: keep none; else as\n"
    "                    configured: on for the machine's own daemon\n"
    "  --forget          promise again although the record of what was promised is damaged\n"
    "  --help, --version\n";

static int fail(const char *option, const char *value, const char *what)
{
    (void)fprintf(stderr, "vramd: %s %s: %s\n", option, value, what);
    return STATUS_USAGE;
}

static int parse_fd(const char *text, int *ret_fd)
{
    char *end;
    long fd = strtol(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || fd < 3 || fd > 1 << 20 ||
        fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0) {
        return fail("--ready-fd", text, "is no descriptor above 2 that is open");
    }
    *ret_fd = (int)fd;
    return -1;
}

static int parse_history(const char *text, const char **ret_history)
{
    if (text[0] != '/' && strcmp(text, "on") != 0 && strcmp(text, "off") != 0) {
        return fail("--history", text, "is neither an absolute path nor on or off");
    }
    *ret_history = text;
    return -1;
}

/* Where to listen, and who may read there. -1 or an exit status. */
static int parse_listen(char option, const char *value, struct options *options)
{
    struct gate_address address;
    if (option == 't') {
        options->token_file = value;
        return -1;
    }
    options->listen = value;
    return gate_parse_address(value, &address) == 0
               ? -1
               : fail("--listen", value, "is no address such as 127.0.0.1:9464");
}

static const struct option known[] = {{"driver", required_argument, NULL, 'd'},
                                      {"socket", required_argument, NULL, 's'},
                                      {"config", required_argument, NULL, 'c'},
                                      {"on-demand", no_argument, NULL, 'o'},
                                      {"linger", required_argument, NULL, 'l'},
                                      {"ready-fd", required_argument, NULL, 'r'},
                                      {"listen", required_argument, NULL, 'n'},
                                      {"token-file", required_argument, NULL, 't'},
                                      {"history", required_argument, NULL, 'H'},
                                      {"forget", no_argument, NULL, 'f'},
                                      {"help", no_argument, NULL, 'h'},
                                      {"version", no_argument, NULL, 'v'},
                                      {NULL, 0, NULL, 0}};

int options_parse(int argc, char **argv, struct options *ret_options)
{
    struct options options = {.ready_fd = -1};
    int option, status = -1;
    while (status < 0 && (option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'd':
            options.driver = optarg;
            break;
        case 's':
            options.socket = optarg;
            status = optarg[0] == '/' ? -1 : fail("--socket", optarg, "is not an absolute path");
            break;
        case 'c':
            options.config = optarg;
            break;
        case 'n':
        case 't':
            status = parse_listen((char)option, optarg, &options);
            break;
        case 'o':
            options.on_demand = true;
            break;
        case 'l':
            if (duration_parse(optarg, &options.linger_ns) < 0 || options.linger_ns == 0) {
                status = fail("--linger", optarg, "is no time, such as 60s");
            }
            break;
        case 'r':
            status = parse_fd(optarg, &options.ready_fd);
            break;
        case 'f':
            options.forget = true;
            break;
        case 'H':
            status = parse_history(optarg, &options.history);
            break;
        case 'h':
            (void)fputs(help, stdout);
            status = STATUS_DONE;
            break;
        case 'v':
            (void)printf("vramd %s\n", vram_version());
            status = STATUS_DONE;
            break;
        default:
            (void)fputs("vramd: `vramd --help` shows what there is\n", stderr);
            status = STATUS_USAGE;
        }
    }
    if (status < 0 && optind < argc) {
        status = fail("argument", argv[optind], "there is none");
    }
    *ret_options = options;
    return status;
}
