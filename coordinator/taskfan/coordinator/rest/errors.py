"""A failure as the answer a client reads. Pure."""

from __future__ import annotations

import traceback
from typing import Any

from taskfan.node.errors import IllegalArgument, Origin, TaskfanError
from taskfan.node.index.errors import SearchPhaseFailed, root_cause


class BadParameter(TaskfanError):
    """A query that cannot be decoded. Source: `RestRequest.BadParameterException`."""

    kind = "bad_parameter_exception"
    http_status = 400
    origin = Origin.FOREIGN

    def __init__(self, cause: TaskfanError) -> None:
        super().__init__(f"java.lang.IllegalArgumentException: {cause.reason}", cause=cause)


class BadContentType(TaskfanError):
    """A Content-Type header that is none. Source: `RestRequest.ContentTypeHeaderException`."""

    kind = "content_type_header_exception"
    http_status = 400
    origin = Origin.FOREIGN

    def __init__(self, reason: str) -> None:
        cause = IllegalArgument(reason)
        super().__init__(f"java.lang.IllegalArgumentException: {reason}", cause=cause)


class UnknownSortKey(TaskfanError):
    """A column to sort by that the table does not have. Source: `RestTable.getRowOrder`."""

    kind = "unsupported_operation_exception"
    origin = Origin.FOREIGN

    def __init__(self, key: str) -> None:
        super().__init__(f"Unable to sort by unknown sort key `{key}`")


class InvalidIndexName(TaskfanError):
    """A name that no index can have."""

    kind = "invalid_index_name_exception"
    http_status = 400

    def __init__(self, index: str, reason: str) -> None:
        super().__init__(f"Invalid index name [{index}], {reason}", metadata={"index": index, "index_uuid": "_na_"})


class NotServed(TaskfanError):
    """An endpoint of OpenSearch that taskfan does not have."""

    kind = "not_implemented_exception"
    http_status = 501

    def __init__(self, method: str, template: str) -> None:
        super().__init__(
            f"[{method} {template}] is an endpoint of OpenSearch that taskfan does not serve; "
            "GET /_taskfan lists those it does"
        )


class ParseFailure(TaskfanError):
    """A body that cannot be read."""

    kind = "parse_exception"
    http_status = 400


class Bug(TaskfanError):
    """What no code expected: logged with its trace where it was caught, and told in short."""

    kind = "exception"
    origin = Origin.FOREIGN

    def __init__(self, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.__traceback__ = error.__traceback__


class FormatNotServed(TaskfanError):
    """A format of OpenSearch that no kept library can write here."""

    kind = "not_acceptable_exception"
    http_status = 406

    def __init__(self, name: str) -> None:
        super().__init__(f"taskfan does not write [{name}]; ask with format=json, yaml or cbor")


def envelope(error: TaskfanError, *, with_stack_trace: bool = False) -> dict[str, Any]:
    """The whole body of a refusal.

    Source: OpenSearch `BytesRestResponse`, `OpenSearchException.generateFailureXContent`.
    """
    roots = [_told(root, with_stack_trace, with_cause=False) for root in root_causes(error)]
    told = {"root_cause": roots} | _told(error, with_stack_trace)
    return {"error": told, "status": int(error.http_status)}


def root_causes(error: TaskfanError) -> list[TaskfanError]:
    """What an error comes down to; of a search that is one cause for each kind of failure of its shards.

    Source: OpenSearch `OpenSearchException.guessRootCauses`.
    """
    if isinstance(error, SearchPhaseFailed):
        return error.root_causes
    return [root_cause(error)]


def _told(error: TaskfanError, with_stack_trace: bool, *, with_cause: bool = True) -> dict[str, Any]:
    if not with_stack_trace:
        told = error.to_object()
        if not with_cause:
            told.pop("caused_by", None)
        return told
    told = {"type": error.kind, "reason": error.reason, **error.metadata}
    if isinstance(error, SearchPhaseFailed):
        told = error.to_object()
        told.pop("caused_by", None)
    if with_cause and error.cause is not None:
        told["caused_by"] = _told(error.cause, with_stack_trace)
    return told | {"stack_trace": stack_trace(error)}


def stack_trace(error: TaskfanError) -> str:
    """Where an error was raised, in Java's form: the last call first. Files are named, not their folders."""
    frames = reversed(traceback.extract_tb(error.__traceback__))
    lines = [f"\tat {frame.name}({frame.filename.rpartition('/')[2]}:{frame.lineno})\n" for frame in frames]
    return f"{error.kind}: {error.reason}\n{''.join(lines)}"


def plain_error(message: str, status: int | None) -> dict[str, Any]:
    """The body of a refusal that is no exception in OpenSearch. Without a status for a path that leads nowhere."""
    return {"error": message} if status is None else {"error": message, "status": status}
