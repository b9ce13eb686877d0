#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A daemon that only says how it was started: in a line of the file $VRAM_TEST_RECORD, before it is ready.

$VRAM_TEST_VRAMD: "fails", it ends before it is ready; "silent", it is never ready; else it listens and answers
GET /v1/leases with nobody's, until it is killed.
"""
import json
import os
import signal
import socket
import sys
import time


def descriptors():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the one that lists them
            pass
    return found


def main():
    options = dict(zip(sys.argv[1:], sys.argv[2:]))
    with open("/proc/self/status") as status:
        masks = {line.split()[0]: line.split()[1] for line in status if line.startswith("Sig")}
    about = {"pid": os.getpid(), "ppid": os.getppid(), "sid": os.getsid(0), "arguments": sys.argv[1:],
             "environment": dict(os.environ), "descriptors": descriptors(), "directory": os.getcwd(), "masks": masks}
    with open(os.environ["VRAM_TEST_RECORD"], "a") as record:
        record.write(json.dumps(about) + "\n")
    mode = os.environ.get("VRAM_TEST_VRAMD")
    if mode == "fails":
        sys.exit("vramd: cannot lock the journal: somebody else has it")
    if mode == "silent":
        signal.pause()
    path = options["--socket"]
    if os.path.exists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(128)
    time.sleep(float(os.environ.get("VRAM_TEST_SLOW", "0")))
    ready = int(options["--ready-fd"])
    os.write(ready, b"ready\n")
    os.close(ready)
    body = json.dumps({"schema": 1, "epoch": 1, "daemon": {"pid": os.getpid(), "promising": True}, "leases": [],
                       "waiters": []}).encode()
    while True:
        connection, _ = listener.accept()
        if connection.recv(65536):
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        connection.close()


main()
