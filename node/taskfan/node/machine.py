"""What a node can tell of the process and machine it runs on, and do for them."""

from __future__ import annotations

from typing import Any, Protocol


class Machine(Protocol):
    """Given to a node by whoever made its process."""

    def info(self) -> dict[str, Any]:
        """What does not change: the sections `settings`, `os` and `process` of `_nodes`."""

    def stats(self) -> dict[str, Any]:
        """What does: the sections `os`, `process` and `jvm` (its `mem.heap_used_percent`) of `_nodes/stats`."""

    def give_back_memory(self) -> None:
        """Let the system have what is free in this process."""


class UnknownMachine:
    """Tells nothing: for nodes that have no process of their own."""

    def info(self) -> dict[str, Any]:
        return {}

    def stats(self) -> dict[str, Any]:
        return {}

    def give_back_memory(self) -> None:
        return
