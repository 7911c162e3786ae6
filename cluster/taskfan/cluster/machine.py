"""What a member tells of its process and machine in `GET /_nodes`, `_nodes/stats` and `_cat/nodes`."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import sys
from typing import Any

from taskfan.cluster.config import NodeConfig

_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


class LocalMachine:
    """This process, as its node was told to be."""

    def __init__(self, config: NodeConfig) -> None:
        self._config = config

    def info(self) -> dict[str, Any]:
        """What does not change. Source: OpenSearch `OsInfo`, `ProcessInfo`."""
        processors = os.cpu_count() or 1
        return {
            "settings": _nested({"node.name": self._config.name, **self._config.explicit}),
            "os": {
                "refresh_interval_in_millis": 1000,
                "name": platform.system(),
                "pretty_name": platform.system(),
                "arch": platform.machine(),
                "version": platform.release(),
                "available_processors": processors,
                "allocated_processors": processors,
            },
            "process": {"refresh_interval_in_millis": 1000, "id": os.getpid(), "mlockall": False},
        }

    def stats(self) -> dict[str, Any]:
        """What does. Differs: there is no heap, so its share is that of the process in the machine's memory."""
        loads = dict(zip(("1m", "5m", "15m"), os.getloadavg(), strict=True))
        total, available = _memory_bytes()
        used_percent = round(100 * (total - available) / total) if total else 0
        own_percent = round(100 * _resident_bytes() / total) if total else 0
        return {
            "os": {
                "cpu": {"percent": 0, "load_average": loads},
                "mem": {
                    "total_in_bytes": total,
                    "free_in_bytes": available,
                    "used_in_bytes": total - available,
                    "free_percent": 100 - used_percent,
                    "used_percent": used_percent,
                },
            },
            "process": {"cpu": {"percent": 0}},
            "jvm": {"mem": {"heap_used_percent": own_percent}},
        }

    def give_back_memory(self) -> None:
        """What the C library keeps for later, where it can be told to: glibc."""
        if _malloc_trim is not None:
            _malloc_trim(0)


def _memory_bytes() -> tuple[int, int]:
    """Of the machine: in all, and available."""
    page = os.sysconf("SC_PAGE_SIZE")
    try:
        return page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
    except (ValueError, OSError):
        # Not every system tells by this way.
        return 0, 0


def _resident_bytes() -> int:
    """At its highest: what the system tells at no cost. Linux counts in KiB, macOS in bytes."""
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else highest * 1024


def _nested(flat: dict[str, str]) -> dict[str, Any]:
    """Dotted names as nested objects, as OpenSearch shows settings."""
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, last = name.split(".")
        inside = nested
        for parent in parents:
            inside = inside.setdefault(parent, {})
        inside[last] = value
    return nested
