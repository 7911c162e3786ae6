"""Memory and processor time of processes, from /proc."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def private_kib(pid: int) -> int:
    """Memory that only this process has (USS), in KiB."""
    return _sum_kib(pid, ("Private_Clean:", "Private_Dirty:"))


def proportional_kib(pid: int) -> int:
    """Its memory, with shared pages divided among those who share them (PSS), in KiB."""
    return _sum_kib(pid, ("Pss:",))


def _sum_kib(pid: int, names: tuple[str, ...]) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(names))


def cpu_s(pid: int) -> float:
    """Processor time it has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine() -> str:
    """One line on what this was measured on."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        os.uname().machine,
    )
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    python = ".".join(map(str, sys.version_info[:3]))
    return f"{os.cpu_count()} cores ({cpu}), {memory_kib >> 20} GiB, Linux {os.uname().release}, Python {python}"
