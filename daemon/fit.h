/* SPDX-License-Identifier: MIT */
/* GET /v1/fit: does it fit, as the command says it, for who has only HTTP (docs/api.md). */
#ifndef VRAM_DAEMON_FIT_H
#define VRAM_DAEMON_FIT_H

#include "daemon/daemon.h"

void fit_answer(struct daemon *daemon, struct http_request *request);

#endif
