/* SPDX-License-Identifier: MIT */
#include "lib/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DOCTOR "`vram doctor` tells more"

/* At most two lines each, true on every distribution. */
static const struct {
    const char *code, *advice;
} advices[] = {
    {"library_not_found", "most likely the NVIDIA driver is not installed, or this container was "
                          "started without a GPU\n" DOCTOR},
    {"library_broken", "most likely it is for another kind of machine, or the CUDA toolkit's "
                       "stand-in for linking\n" DOCTOR},
    {"driver_not_loaded", "most likely the kernel module was not loaded or does not fit this "
                          "kernel; try `sudo modprobe nvidia`\n" DOCTOR},
    {"no_permission", "most likely this user is not in the group of /dev/nvidiactl (see `ls -l "
                      "/dev/nvidiactl`)\n" DOCTOR},
    {"version_mismatch",
     "most likely the driver was upgraded since the machine was started; restart it\n" DOCTOR},
    {"driver_blocked", "most likely the rules of a container, a service or a security module "
                       "forbid the devices\n" DOCTOR},
    {"driver_failed",
     "`sudo dmesg | grep -iE 'nvrm|xid'` shows what the driver says of it\n" DOCTOR},
    {"driver_hung",
     "most likely a GPU has failed; its last words are in `sudo dmesg | grep -i xid`\n" DOCTOR},
    {"driver_restarted",
     "most likely the driver was unloaded or upgraded; the next call starts it anew"},
    {"no_gpu", "the driver works and has no GPU; `lspci -nn | grep -i nvidia` shows whether there "
               "is one\n" DOCTOR},
    {"out_of_memory", "the machine's memory, or this program's share of it, is used up"},
    {"bad_driver", "see `vram --help` for --driver; VRAM_DRIVER may hold it too"},
    {"bad_simulation", "most likely a mistake in the scenario file, in the line that is named"},
    {"no_such_simulation", "machines are rtx4090, 2x3090, 8xh100, gb10, wsl, mig and empty; a "
                           "scenario file is named with a slash"},
    {"no_daemon", "`vram serve` runs one; `vram run` and `vram reserve` start one where they may"},
    {"daemon_refused", "most likely its service has stopped: `systemctl status vramd`\nin a "
                       "container the socket's directory must be mounted, not the socket"},
    {"daemon_denied", "see `ls -l` of it; the system's daemon lets everybody read"},
    {"daemon_silent", "most likely it is stopped, or the machine is overloaded"},
    {"daemon_gone", "most likely it is being restarted; try again"},
    {"bad_daemon", "most likely the daemon is of another version than this program, or the socket "
                   "is another program's"},
    {"daemon_failed", "`vram serve` runs it in the foreground and shows what it says"},
    {"no_vramd", "it is a part of vram's installation; VRAM_DAEMON says where it is elsewhere"},
    {"private_namespace",
     "start vramd on the host and mount /run/vram into the container\nVRAM_SOCKET=PATH says that "
     "this is all there is of the machine, and starts one there"},
    {"foreign_directory", "VRAM_SOCKET names another place for the daemon's socket"},
    {"no_directory", "VRAM_SOCKET names another place for the daemon's socket"},
    {"bad_id", "`vram leases` shows the ids; the first digits will do"},
    {"no_simulation", "the simulated driver is a part of vram's installation; VRAM_SIM_DIR says "
                      "where it is elsewhere"},
};

int err_set(struct err *err, int result, const char *code, const char *format, ...)
{
    if (!err) {
        return result;
    }
    va_list args;
    va_start(args, format);
    err->result = result;
    err->driver_code = 0;
    (void)snprintf(err->code, sizeof(err->code), "%s", code);
    (void)vsnprintf(err->message, sizeof(err->message), format, args);
    (void)snprintf(err->hint, sizeof(err->hint), "%s", err_advice(code));
    va_end(args);
    return result;
}

const char *err_advice(const char *code)
{
    for (size_t i = 0; i < ARRAY_LENGTH(advices); i++) {
        if (strcmp(advices[i].code, code) == 0) {
            return advices[i].advice;
        }
    }
    return "";
}

int err_no_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "out_of_memory", "out of memory");
}
