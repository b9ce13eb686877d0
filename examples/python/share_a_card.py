# SPDX-License-Identifier: MIT
"""ComfyUI and a language model on one card: whichever comes second waits until the first has given its share back.

    python share_a_card.py 14G comfyui -- python main.py
    python share_a_card.py 12G llm -- llama-server -m model.gguf -ngl 99

`vram run 14G -- python main.py` does the same; this is for those who start their services from Python.
"""
import argparse
import os
import subprocess
import sys

import vram


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("size")
    parser.add_argument("label")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()

    def tell(position, waits_for):
        print(f"{options.label}: number {position} in line: {waits_for}", file=sys.stderr, flush=True)

    with vram.lease(options.size, label=options.label, progress=tell) as lease:
        print(f"{options.label}: {options.size} on {lease.visible_devices}", file=sys.stderr, flush=True)
        # The child is this process's descendant: what it allocates counts for the lease.
        return subprocess.call(options.command, env={**os.environ, **lease.environment})


if __name__ == "__main__":
    sys.exit(main())
