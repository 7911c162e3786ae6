"""Memory and processor time of processes, and what the machine is, from the system's own counts."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

# A machine that does more than this before the run is not one to measure on.
QUIET_LOAD = 0.5


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
    """Processor time it has used, in seconds, to the nanosecond: ticks of /proc would hide what an idle node does."""
    # The number of a process's clock, as the C library's `clock_getcpuclockid` makes it on Linux.
    return time.clock_gettime((~pid << 3) | 2)


def parent_of(pid: int) -> int:
    """Who started it."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


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


def load_average() -> float:
    """How many processes wanted a processor in the last minute, on average."""
    return round(os.getloadavg()[0], 2)
