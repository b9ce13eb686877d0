/* SPDX-License-Identifier: MIT */
/*
 * What a container's label says, read from what its engine wrote down on this machine, without asking the engine:
 *
 *   Docker      DATA/containers/ID/config.v2.json, Config.Labels      (moby v29.7.2: daemon/container/container.go)
 *   Podman      STORAGE/overlay-containers/ID/userdata/config.json    (podman v5.8.2: libpod/container_internal.go)
 *   CRI-O       the same                                              (cri-o v1.35.6: server/container_create.go)
 *   containerd  STATE/io.containerd.runtime.v2.task/NAMESPACE/ID/config.json (containerd v2.3.4: core/runtime/v2/bundle.go)
 *
 * DATA is /var/lib/docker, or data-root of /etc/docker/daemon.json; STORAGE /var/lib/containers/storage; STATE
 * /run/containerd. The latter three hold an OCI configuration, whose `annotations` are looked at: Podman and containerd keep
 * labels in their databases alone. Containers that a user's own engine runs are not there, and must not be: who may
 * write these files may take any name.
 */
#ifndef VRAM_DAEMON_CONTAINER_LABEL_H
#define VRAM_DAEMON_CONTAINER_LABEL_H

#include "common/attr.h"
#include "daemon/accounts.h"
#include <stddef.h>

#define CONTAINER_METADATA_MAX ((size_t)1 << 20) /* of a file */

/* Of one such file's text. 1 with the user; 0: it has no such label; -EBADMSG: it is no such file; -EINVAL: what the label
 * says is no user's name; -ENOMEM. */
MUST_CHECK int container_label_parse(const char *text, size_t length, const char *label,
                                     char user[ACCOUNT_NAME_MAX]);

/* Looks for a container's files below `root` ("": the real machine). `id`: CONTAINER_ID_DIGITS hexadecimal digits. As above,
 * and -ENOENT: no engine that is known here has it; -EPERM: others than root could have written it; -EFBIG; other negative
 * errno. */
MUST_CHECK int container_label_read(const char *root, const char *id, const char *label,
                                    char user[ACCOUNT_NAME_MAX]);

#endif
