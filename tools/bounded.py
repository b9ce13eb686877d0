# SPDX-License-Identifier: MIT
"""Runs a command that may hang, crash or leave processes behind. Used by run_tests.py and check.py."""

import os
import signal
import subprocess
import tempfile


def run(command, environment=None, directory=None, timeout=600):
    """Returns exit status (negative: the signal; None: out of time) and output, both streams together.

    The command leads a process group of its own, which is gone afterwards. Its output goes to a file: a
    pipe that some descendant keeps open would be waited for.
    """
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            [str(word) for word in command], env=environment, cwd=directory, stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )
        try:
            status = child.wait(timeout)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            kill_group(child.pid)
            child.wait()
        output.seek(0)
        return status, output.read().decode(errors="replace")


def kill_group(group):
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def describe(status, timeout):
    """A sentence for a status that is not 0."""
    if status is None:
        return f"not finished after {timeout:.0f} s"
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
