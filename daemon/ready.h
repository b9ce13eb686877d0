/* SPDX-License-Identifier: MIT */
/* Telling whoever started the daemon that it serves: a pipe, systemd's socket. */
#ifndef VRAM_DAEMON_READY_H
#define VRAM_DAEMON_READY_H

/* Writes one line to `fd`: "ready", or what went wrong; and closes it. -1: nobody asked. */
void ready_tell(int fd, const char *line);

/* To $NOTIFY_SOCKET, where there is one: "READY=1" and the like. */
void ready_notify(const char *state);

#endif
