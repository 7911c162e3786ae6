"""Whether anything is left of a cluster that should be gone."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import msgspec


class Footprint(msgspec.Struct, frozen=True):
    """What a cluster leaves in the machine while it lives; its ports are open as long as its processes live.

    `run_id` is part of the command of all its processes; `directory` is None when it is to stay.
    """

    run_id: str
    directory: str | None

    def processes(self) -> list[tuple[int, str]]:
        """Process ids and commands of its supervisor, fork server and members that live."""
        return [(pid, command) for pid, command in commands() if command.endswith(self.run_id)]

    def left_over(self) -> list[str]:
        """One sentence for everything that is still there."""
        found = [f"process {pid} lives: {command}" for pid, command in self.processes()]
        if self.directory is not None and os.path.exists(self.directory):
            found.append(f"directory {self.directory} exists")
        return found


def commands() -> list[tuple[int, str]]:
    """Process ids and commands of all processes."""
    proc = Path("/proc")
    if not (proc / "self" / "cmdline").exists():
        return _commands_by_ps()
    found = []
    for entry in proc.iterdir():
        if entry.name.isdecimal():
            # Processes end while one looks. One that is only waited for has no command any more.
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                found.append((int(entry.name), command))
    return sorted(found)


def _commands_by_ps() -> list[tuple[int, str]]:
    asked = ["ps", "-axww", "-o", "pid=,command="]
    listed = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False).stdout
    rows = [line.strip().partition(" ") for line in listed.splitlines()]
    return [(int(pid), command.strip()) for pid, _, command in rows if pid.isdecimal()]
