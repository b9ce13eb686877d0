# SPDX-License-Identifier: MIT
"""A middleware that leases for another container: before it hands work to ComfyUI it promises ComfyUI the memory.

The middleware needs no GPU, only the daemon's socket (-v /run/vram:/run/vram). A container's processes are no
descendants of who asks, so that it is attached, by its id or name.

    python lease_for_a_container.py comfyui 14G 'http://comfyui:8188/prompt' workflow.json
"""
import sys
import urllib.request

import vram


def submit(container, size, url, workflow, timeout=600):
    """Hands a workflow over while `container` is promised `size`. Returns the answer."""
    with vram.lease(size, label=f"for {container[:40]}", timeout=timeout) as lease:
        lease.attach(container=container)
        request = urllib.request.Request(url, workflow, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.read()


def main():
    container, size, url, path = sys.argv[1:]
    with open(path, "rb") as file:
        workflow = file.read()
    try:
        print(submit(container, size, url, workflow).decode())
    except vram.DoesNotFit as refusal:
        sys.exit(f"not now: {refusal}")


if __name__ == "__main__":
    main()
