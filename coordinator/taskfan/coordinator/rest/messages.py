"""A request as handlers see it, and the answer they give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from taskfan.node.node import Node
from taskfan.node.task import Task

JSON = "application/json; charset=UTF-8"
TEXT = "text/plain; charset=UTF-8"


# Source: OpenSearch `RestCancellableNodeClient`.
CLIENT_IS_GONE = "channel was closed"


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
            if node.registry.get(task.id.number) is task:
                # Nobody reads what becomes of it; a failed ban is no concern of a client that is gone.
                node.cancel(task, CLIENT_IS_GONE, wait=False).add_done_callback(lambda done: done.exception())

        if self._is_gone:
            cancel()
        self._on_gone.append(cancel)
        try:
            yield
        finally:
            self._on_gone.remove(cancel)


@dataclass(frozen=True, slots=True)
class RestRequest:
    """A request whose route was found and whose parameters are right.

    Args:
        parameters: values of the route's declared parameters, by name; those of the path are among them.
        headers: what goes into tasks, such as `X-Opaque-Id`.
        client: who waits.
        body: decoded JSON, for routes that read a body and were given one.
        accept: the Accept header, for tables.
        format: the `format` parameter, for tables.
        human: times and sizes also as people write them.
    """

    method: str
    path: str
    parameters: Mapping[str, Any]
    headers: Mapping[str, str]
    client: Client
    body: Any = None
    accept: str | None = None
    format: str | None = None
    human: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler answers: JSON, which may still be filtered or written in another format, or text.

    Args:
        parts: the body; pieces that nobody has to join.
        is_text: the parts are ready and of type text/plain.
    """

    parts: list[bytes]
    status: int = 200
    is_text: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
