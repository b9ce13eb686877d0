# SPDX-License-Identifier: MIT
"""Allocates memory on GPU 0 through the CUDA driver (no toolkit needed) and holds it until standard input ends."""

import ctypes
import sys

size = int(sys.argv[1])
cuda = ctypes.CDLL("libcuda.so.1")


def call(name, *arguments):
    code = getattr(cuda, name)(*arguments)
    if code:
        sys.exit(f"{name} returned {code}")


device, context, memory = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
call("cuInit", 0)
call("cuDeviceGet", ctypes.byref(device), 0)
call("cuCtxCreate_v2", ctypes.byref(context), 0, device)
print("context", flush=True)
sys.stdin.readline()
call("cuMemAlloc_v2", ctypes.byref(memory), ctypes.c_size_t(size))
print("allocated", flush=True)
sys.stdin.read()
