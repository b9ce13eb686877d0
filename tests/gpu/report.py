# SPDX-License-Identifier: MIT
"""The report of `./dev gpu`: Markdown that can be pasted into an issue. What differs from what is expected comes
first, then the sections. It is written anew after every section, so that a run that is broken off leaves one."""

import os
import re

UUID = re.compile(r"\b(GPU|MIG)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def mib(amount):
    """Bytes for people, exactly: whole MiB where they are, else bytes."""
    if amount is None:
        return "unknown"
    return f"{amount >> 20} MiB" if amount % (1 << 20) == 0 else f"{amount / (1 << 20):.3f} MiB"


class Report:
    def __init__(self, title, path=None, redact=False, hidden=()):
        self.title, self.path, self.redact, self.hidden = title, path, redact, hidden
        self.sections, self.differences, self.failures, self.left_out = [], [], [], []
        self.checks = 0

    # ---- What sections write ----

    def section(self, title):
        self.sections.append([title])
        print(f"\n## {self.clean(title)}\n", flush=True)

    def text(self, *lines):
        for line in lines:
            self.sections[-1].append(line)
            print(self.clean(line), flush=True)

    def table(self, head, rows):
        self.text(table(head, rows), "")

    def expect(self, what, expected, seen, good=None):
        """A statement of the code or its documents, and what the driver answers. Returns whether they agree."""
        self.checks += 1
        good = expected == seen if good is None else good
        if not good:
            self.differences.append((self.sections[-1][0], what, expected, seen))
            print(self.clean(f"DIFFERENCE: {what}: expected {expected}, seen {seen}"), flush=True)
        return good

    def fail(self, why):
        self.failures.append(f"{self.sections[-1][0]}: {why}")
        self.text(f"**Not finished: {why}**")

    def leave_out(self, what, why):
        self.left_out.append(f"{what}: {why}")
        self.text(f"Left out: {what}: {why}.")

    # ---- The whole ----

    def clean(self, text):
        for path in self.hidden:
            text = text.replace(path, "…")
        return UUID.sub(r"\1-(redacted)", text) if self.redact else text

    def markdown(self):
        parts = [f"# {self.title}", "## Differences"]
        if self.differences:
            parts.append(table(["section", "what", "expected", "seen"], self.differences))
        else:
            parts.append("None.")
        parts.append(f"{self.checks} statements were checked, {len(self.differences)} differ.")
        parts += [f"- not finished: {failure}" for failure in self.failures]
        parts += [f"- left out: {what}" for what in self.left_out]
        for title, *lines in self.sections:
            parts += [f"## {title}", "\n".join(lines)]
        return self.clean("\n\n".join(parts) + "\n")

    def write(self):
        if self.path:
            beside = f"{self.path}.part"
            with open(beside, "w") as file:
                file.write(self.markdown())
            os.replace(beside, self.path)

    @property
    def status(self):
        return 1 if self.differences or self.failures else 0
