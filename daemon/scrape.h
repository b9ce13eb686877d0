/* SPDX-License-Identifier: MIT */
/*
 * GET /metrics: the daemon's last figures as metrics. A scrape asks no driver. It makes the daemon keep its figures fresh by
 * itself for some minutes, and only the first waits for them, a second at most.
 */
#ifndef VRAM_DAEMON_SCRAPE_H
#define VRAM_DAEMON_SCRAPE_H

#include "daemon/daemon.h"

void scrape_answer(struct daemon *daemon, struct http_request *request);

#endif
