"""Who waits for an answer, and what becomes of cancellable work when they go away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from taskfan.node.node import Node
from taskfan.node.task import Task

# Source: OpenSearch `RestCancellableNodeClient`.
CLIENT_IS_GONE = "channel closed"


class Client:
    """Who waits for an answer. Most requests run to their end even when nobody does any more."""

    __slots__ = ("_is_gone", "_on_gone")

    def __init__(self) -> None:
        self._is_gone = False
        self._on_gone: list[Callable[[], object]] = []

    def gone(self) -> None:
        """Its connection is closed, and the answer not given yet."""
        self._is_gone = True
        for callback in self._on_gone:
            callback()

    @contextmanager
    def cancels(self, node: Node, task: Task) -> Iterator[None]:
        """Within the block, a client that goes away, or has gone, cancels this task of `node`."""

        def cancel() -> None:
            # One that cannot be cancelled works on, for nobody.
            if task.cancellable and node.registry.get(task.id.number) is task:
                # Nobody reads what becomes of it; a failed ban is no concern of a client that is gone.
                node.cancel(task, CLIENT_IS_GONE, wait=False).add_done_callback(lambda done: done.exception())

        if self._is_gone:
            cancel()
        self._on_gone.append(cancel)
        try:
            yield
        finally:
            self._on_gone.remove(cancel)
