"""From a whole request to a whole answer: all checks, in OpenSearch's order, once for every route.

Source: OpenSearch `AbstractHttpServerTransport`, `RestController`, `DefaultRestChannel`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from taskfan.coordinator.http.errors import TooLarge, UnexpectedMethod
from taskfan.coordinator.http.messages import Field, Fields, HttpRequest, HttpResponse
from taskfan.coordinator.rest import formats
from taskfan.coordinator.rest.client import Client
from taskfan.coordinator.rest.errors import (
    BadContentType,
    Bug,
    FormatNotServed,
    ParseFailure,
    envelope,
    plain_error,
)
from taskfan.coordinator.rest.formats import PLAIN, Options
from taskfan.coordinator.rest.messages import TEXT, Answer, RestRequest
from taskfan.coordinator.rest.paths import PathTrie
from taskfan.coordinator.rest.plan import Plan, Refusal, planner_of
from taskfan.coordinator.rest.routes import ROUTE_TABLE, Route
from taskfan.node.cluster_state import OPENSEARCH_VERSION
from taskfan.node.errors import IllegalArgument, TaskfanError
from taskfan.node.node import Node

log = logging.getLogger("taskfan.rest")

VERSION_FIELD: Field = (b"X-OpenSearch-Version", f"OpenSearch/{OPENSEARCH_VERSION} (opensearch)".encode())
# Header fields that go into tasks and come back with the answer, by their name in a request. One value each.
_TASK_HEADERS = {b"x-opaque-id": "X-Opaque-Id", b"x-request-id": "X-Request-Id"}
READ_FIELDS = frozenset([*_TASK_HEADERS, b"content-type", b"accept", b"accept-encoding", b"content-encoding"])
# Source: `SETTING_HTTP_REQUEST_ID_MAX_LENGTH`, its default.
_MAX_REQUEST_ID_LENGTH = 128
# Formats of which several values cannot stand one after the other in a body.
_UNSTREAMED = ("yaml", "cbor")
_TOKEN = re.compile(r"[a-zA-Z0-9!#$%&'*+\-.^_`|~]+")
_UNSAFE_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_ENCODINGS = ("gzip", "x-gzip", "deflate", "x-deflate")


class Dispatcher:
    """Answers the requests of one node."""

    def __init__(self, node: Node, max_content_bytes: int, routes: PathTrie[Route] = ROUTE_TABLE) -> None:
        self._node = node
        self._max_content_bytes = max_content_bytes
        self._planner = planner_of(routes)

    async def dispatch(self, request: HttpRequest, client: Client) -> HttpResponse:
        """Answer one request. Never raises: what goes wrong is an answer too."""
        plan = self._planner.plan(request.method, request.target)
        answer = await self._answer(plan, request, client)
        try:
            return self._response(plan, request, answer)
        except Exception as error:
            log.exception("a bug while writing the answer to %s %s", request.method, plan.path)
            return broken_response(Bug(error))

    async def _answer(self, plan: Plan, request: HttpRequest, client: Client) -> Answer | Refusal | TaskfanError:
        # An error is given up by the frames of its trace: one that kept it would be a cycle for each such answer.
        try:
            return await self._handled(plan, request, client)
        except TaskfanError as error:
            return error
        except Exception as error:
            log.exception("a bug while answering %s %s", request.method, plan.path)
            return Bug(error)

    async def _handled(self, plan: Plan, request: HttpRequest, client: Client) -> Answer | Refusal | TaskfanError:
        """What the handler answers, or why it is not asked. Raises TaskfanError, and bugs.

        What is wrong with a plan is returned: raised again for each request, it would remember each time.
        """
        fields, body = request.fields, request.body
        body_type = _body_type(fields.get(b"content-type"))
        if plan.malformed is not None:
            return plan.malformed
        headers = _task_headers(fields)
        if isinstance(headers, Refusal | TaskfanError):
            return headers
        if plan.refusal is not None:
            return plan.refusal
        if body and body_type is None:
            given = b",".join(fields.get(b"content-type", ())).decode("latin-1")
            return Refusal(406, plain_error(f"Content-Type header [{given}] is not supported", 406))
        if body and body_type in _UNSTREAMED and plan.route is not None and plan.route.reads_stream:
            told = f"Content-Type [{body_type.upper()}] does not support stream parsing. Use JSON or SMILE instead"
            return Refusal(406, plain_error(told, 406))
        if plan.wrong_parameter is not None:
            return plan.wrong_parameter
        assert plan.route is not None
        assert plan.handler is not None
        asked = RestRequest(
            request.method,
            plan.path,
            plan.parameters,
            headers,
            client,
            self._decoded(body, body_type, fields) if plan.route.reads_body else None,
            self._text(body, body_type, fields) if plan.route.reads_text else b"",
            plan.unrecognized,
            _first(fields, b"accept"),
            plan.options.format,
            plan.options.human,
        )
        return await plan.handler(self._node, asked)

    def _decoded(self, body: bytes, body_type: str | None, fields: Fields) -> Any:
        """The value of a body, None when there is none.

        Raises:
            ParseFailure: it cannot be read.
            TooLarge: it is too large once it is decompressed.
        """
        if not body:
            return None
        try:
            return formats.read_value(self._whole(body, fields), body_type or "json")
        except ValueError as error:
            raise ParseFailure(f"Failed to parse the body: {error}") from None

    def _text(self, body: bytes, body_type: str | None, fields: Fields) -> bytes:
        """A body as JSON text; one of another format is written anew. Raises as `_decoded`."""
        if body and body_type not in (None, "json"):
            return msgspec.json.encode(self._decoded(body, body_type, fields))
        try:
            return self._whole(body, fields)
        except ValueError as error:
            raise ParseFailure(f"Failed to parse the body: {error}") from None

    def _whole(self, body: bytes, fields: Fields) -> bytes:
        """A body without its compression. Raises TooLarge, and ValueError when it is broken."""
        encoding = (_first(fields, b"content-encoding") or "").strip().lower()
        whole: bytes | None = body
        if encoding in _ENCODINGS:
            whole = formats.decompress(body, encoding, self._max_content_bytes)
        if whole is None:
            raise TooLarge(self._max_content_bytes)
        return whole

    # ------------------------------------------------------------------ writing

    def _response(self, plan: Plan, request: HttpRequest, answer: Answer | Refusal | TaskfanError) -> HttpResponse:
        # A request that was malformed gets an answer without any of its options, for those may be what is wrong.
        options = PLAIN if plan.malformed is not None else plan.options
        fields = request.fields
        format = formats.choose(options, _first(fields, b"accept"), _first(fields, b"content-type"))
        try:
            status, content_type, parts = _written(answer, options, format)
        except FormatNotServed as error:
            status, content_type, parts = _written(error, options, "json")
        except TaskfanError as error:
            status, content_type, parts = _written(error, options, format)
        own = _echoed(fields) if fields else []
        if isinstance(answer, Refusal) and answer.allow:
            own.append((b"Allow", answer.allow.encode()))
        elif isinstance(answer, Answer) and answer.headers:
            own += [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        encoding = formats.accepted_encoding(_first(fields, b"accept-encoding"))
        if encoding is not None and parts and request.method != "HEAD":
            parts = formats.compress(parts, encoding)
            own.append((b"content-encoding", encoding.encode()))
        self._node.spare_memory.answered(sum(map(len, parts)))
        return HttpResponse(status, content_type, parts, own)


def _written(answer: Answer | Refusal | TaskfanError, options: Options, format: str) -> tuple[int, str, list[bytes]]:
    """Status, content type and body. Raises FormatNotServed, and IllegalArgument for a filter of nothing."""
    if isinstance(answer, Answer):
        return answer.status, *formats.write(answer, options, format)
    if isinstance(answer, Refusal):
        if answer.body is None:
            return answer.status, TEXT, []
        return answer.status, *formats.write_value(answer.body, options, format)
    body = envelope(answer, with_stack_trace=options.error_trace)
    return int(answer.http_status), *formats.write_value(body, options, format)


def broken_response(error: TaskfanError) -> HttpResponse:
    """The answer to what is no request: nothing of it is known, so it is JSON and echoes nothing."""
    answer: TaskfanError | Refusal = error
    if isinstance(error, UnexpectedMethod):
        answer = Refusal(error.http_status, plain_error(str(error.reason), error.http_status))
    return HttpResponse(*_written(answer, PLAIN, "json"))


def _first(fields: Fields, name: bytes) -> str | None:
    values = fields.get(name)
    return values[0].decode("latin-1") if values else None


def _task_headers(fields: Fields) -> dict[str, str] | Refusal | IllegalArgument:
    """What goes into tasks, or the refusal of a header with two different values, or of a bad `X-Request-Id`."""
    headers = {}
    for name, shown in _TASK_HEADERS.items():
        values = fields.get(name)
        if values:
            if len(values) > 1 and any(value != values[0] for value in values):
                return Refusal(400, plain_error(f"multiple values for single-valued header [{shown}].", 400))
            headers[shown] = values[0].decode("latin-1")
    return _bad_request_id(headers.get("X-Request-Id")) or headers


def _bad_request_id(given: str | None) -> IllegalArgument | None:
    """Source: OpenSearch `RestController.tryAllHandlers`."""
    if given == "":
        return IllegalArgument("X-Request-Id should not be null or empty")
    if given is not None and len(given) > _MAX_REQUEST_ID_LENGTH:
        told = f"X-Request-Id length [{len(given)}] exceeds maximum allowed length [{_MAX_REQUEST_ID_LENGTH}]"
        return IllegalArgument(told)
    return None


def _echoed(fields: Fields) -> list[Field]:
    """The first value of what is echoed; one with control characters could not be written."""
    return [
        (shown.encode(), values[0])
        for name, shown in _TASK_HEADERS.items()
        if (values := fields.get(name)) and not _UNSAFE_VALUE.search(values[0])
    ]


def _body_type(values: Sequence[bytes] | None) -> str | None:
    """The format that a Content-Type header names, None for none or an unknown one.

    Raises:
        BadContentType: it is no media type, or there are two.

    Source: OpenSearch `RestRequest.parseContentType`.
    """
    if not values:
        return None
    if len(values) > 1:
        raise BadContentType("only one Content-Type header should be provided")
    return _body_type_of(values[0].decode("latin-1"))


@lru_cache(formats.CACHED_VALUES)
def _body_type_of(header: str) -> str | None:
    kind, slash, name = header.partition(";")[0].rstrip(" \t").partition("/")
    if not slash or not _TOKEN.fullmatch(kind) or not _TOKEN.fullmatch(name.strip()):
        raise BadContentType(f"invalid Content-Type header [{header}]")
    return formats.of_media_type(header)
