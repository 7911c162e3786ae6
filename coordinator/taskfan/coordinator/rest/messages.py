"""A request as handlers see it, and the answer they give. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from taskfan.coordinator.rest.client import Client
    from taskfan.node.errors import TaskfanError

JSON = "application/json; charset=UTF-8"
TEXT = "text/plain; charset=UTF-8"


class RestRequest(msgspec.Struct, frozen=True):
    """A request whose route was found and whose parameters are right.

    Args:
        parameters: values of the route's declared parameters, by name; those of the path are among them.
        headers: what goes into tasks, such as `X-Opaque-Id`.
        client: who waits.
        body: decoded JSON, for routes that read a body and were given one.
        raw: the body as JSON text, byte by byte as it came, for routes that tell where in it something is wrong.
        unrecognized: the refusal of parameters nobody declared, for routes that do their work in spite of it.
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
    raw: bytes = b""
    unrecognized: TaskfanError | None = None
    accept: str | None = None
    format: str | None = None
    human: bool = False


class Answer(msgspec.Struct, frozen=True):
    """What a handler answers: JSON, which may still be filtered or written in another format, or text.

    Args:
        parts: the body; pieces that nobody has to join.
        is_text: the parts are ready and of type text/plain.
    """

    parts: list[bytes]
    status: int = 200
    is_text: bool = False
    headers: Mapping[str, str] = {}
