"""The failures OpenSearch names: type, reason, REST status, and their form on the wire. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Self

from taskfan.v1 import task_pb2 as pb

Metadata = Mapping[str, str | list[str]]


class Origin(enum.Enum):
    """How an exception counts among OpenSearch's. Source: `StreamOutput.writeException`, `OpenSearchException`."""

    OPENSEARCH = pb.Error.ORIGIN_OPENSEARCH
    KNOWN = pb.Error.ORIGIN_KNOWN
    FOREIGN = pb.Error.ORIGIN_FOREIGN


class TaskfanError(Exception):
    """A request that is refused, or a failure on its way to whoever asked.

    The subclasses below give the failures of OpenSearch their type, status and words. One that came over
    the wire is a plain `TaskfanError` with the same values: decide on `kind`, not on the class.

    Args:
        reason: the message; None is written as JSON null.
        metadata: further keys of the JSON object, in output order.
        cause: becomes `caused_by`.
    """

    kind = "exception"
    http_status: int = HTTPStatus.INTERNAL_SERVER_ERROR
    origin = Origin.OPENSEARCH

    def __init__(self, reason: str | None, *, metadata: Metadata | None = None, cause: TaskfanError | None = None):
        super().__init__(reason)
        self.reason = reason
        self.metadata: Metadata = metadata or {}
        self.cause = cause

    @property
    def status_name(self) -> str:
        """Name of OpenSearch's RestStatus, such as `INTERNAL_SERVER_ERROR`."""
        return status_name(self.http_status)

    def to_object(self) -> dict[str, Any]:
        """What a client reads of it, as JSON values: `type`, `reason`, metadata, `caused_by`, in this order.

        Source: `OpenSearchException.toXContent`.
        """
        shown: dict[str, Any] = {"type": self.kind, "reason": self.reason, **self.metadata}
        if self.cause is not None:
            shown["caused_by"] = self.cause.to_object()
        return shown

    def to_wire(self) -> pb.Error:
        """The message that carries this error, as it is here: crossing the wire is decided by `crossed`."""
        message = pb.Error(type=self.kind, status=self.status_name, origin=self.origin.value)
        if self.reason is not None:
            message.reason = self.reason
        for name, value in self.metadata.items():
            values = [value] if isinstance(value, str) else value
            message.metadata.add(name=name, values=values, is_list=not isinstance(value, str))
        if self.cause is not None:
            message.caused_by.CopyFrom(self.cause.to_wire())
        return message

    @classmethod
    def from_wire(cls, message: pb.Error) -> TaskfanError:
        """The error a message carries."""
        error = TaskfanError(
            message.reason if message.HasField("reason") else None,
            metadata={m.name: list(m.values) if m.is_list else m.values[0] for m in message.metadata},
            cause=cls.from_wire(message.caused_by) if message.HasField("caused_by") else None,
        )
        error.kind, error.origin = message.type, Origin(message.origin)
        error.http_status = status_number(message.status)
        return error

    def crossed(self) -> TaskfanError:
        """This error as the node that asked sees it: a foreign exception gets its type before its reason.

        Done once, where an error leaves the node that raised it for another one.
        Source: OpenSearch `NotSerializableExceptionWrapper`.
        """
        error = TaskfanError(
            self.reason, metadata=self.metadata, cause=self.cause.crossed() if self.cause is not None else None
        )
        error.kind, error.origin, error.http_status = self.kind, self.origin, self.http_status
        if self.origin is Origin.FOREIGN:
            # The wrapper is an OpenSearch exception, so a second crossing changes nothing.
            error.reason, error.origin = f"{self.kind}: {self.reason}", Origin.OPENSEARCH
        return error


# OpenSearch's RestStatus spells some of these its own way.
_STATUS_NAMES = {
    413: "REQUEST_ENTITY_TOO_LARGE",
    416: "REQUESTED_RANGE_NOT_SATISFIED",
    422: "UNPROCESSABLE_ENTITY",
    505: "HTTP_VERSION_NOT_SUPPORTED",
}
_STATUS_NUMBERS = {name: number for number, name in _STATUS_NAMES.items()}


def status_name(number: int) -> str:
    """OpenSearch's name of a REST status. Source: `RestStatus`."""
    return _STATUS_NAMES.get(number) or HTTPStatus(number).name


def status_number(name: str) -> int:
    """The number of a RestStatus; 500 for a name that is unknown here."""
    if name in _STATUS_NUMBERS:
        return _STATUS_NUMBERS[name]
    return HTTPStatus[name].value if name in HTTPStatus.__members__ else HTTPStatus.INTERNAL_SERVER_ERROR.value


class IllegalArgument(TaskfanError):
    """An argument that cannot be meant."""

    kind = "illegal_argument_exception"
    http_status = HTTPStatus.BAD_REQUEST
    origin = Origin.KNOWN


class NumberFormat(TaskfanError):
    """A text that should be a number."""

    kind = "number_format_exception"
    http_status = HTTPStatus.BAD_REQUEST
    origin = Origin.KNOWN

    @classmethod
    def of(cls, text: str) -> Self:
        """In Java's words."""
        return cls(f'For input string: "{text}"' if text else "empty String")


class ValidationFailed(TaskfanError):
    """A request that is well-formed but contradicts itself. Source: `ActionRequestValidationException`."""

    kind = "action_request_validation_exception"
    http_status = HTTPStatus.BAD_REQUEST
    # A Java IllegalArgumentException; its own class does not travel.
    origin = Origin.FOREIGN

    def __init__(self, *faults: str) -> None:
        super().__init__("Validation Failed: " + "".join(f"{n}: {fault};" for n, fault in enumerate(faults, 1)))


class ResourceNotFound(TaskfanError):
    """What was named is not there."""

    kind = "resource_not_found_exception"
    http_status = HTTPStatus.NOT_FOUND


class TaskNotFound(ResourceNotFound):
    """No task of that id runs on its node; it may have ended just now."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"task [{task_id}] is not found")


class IndexNotFound(ResourceNotFound):
    """No index of that name. `resource_type` is `index_expression` or `index_or_alias`, by who asked."""

    kind = "index_not_found_exception"

    def __init__(self, index: str, resource_type: str = "index_or_alias") -> None:
        metadata = {"index": index, "resource.id": index, "resource.type": resource_type, "index_uuid": "_na_"}
        super().__init__(f"no such index [{index}]", metadata=metadata)


class TaskCancelled(TaskfanError):
    """Work that ended, or did not begin, because its task was cancelled."""

    kind = "task_cancelled_exception"


class Timeout(TaskfanError):
    """A wait that reached its limit."""

    kind = "timeout_exception"
    http_status = HTTPStatus.GATEWAY_TIMEOUT


class Rejected(TaskfanError):
    """A queue or pool is full."""

    kind = "rejected_execution_exception"
    http_status = HTTPStatus.TOO_MANY_REQUESTS
    origin = Origin.KNOWN


class NoSuchNode(TaskfanError):
    """A node that is not in the cluster state."""

    kind = "no_such_node_exception"

    def __init__(self, node_id: str) -> None:
        super().__init__(f"No such node [{node_id}]", metadata={"node_id": node_id})


class TransportError(TaskfanError):
    """A message that could not be brought or answered."""

    kind = "transport_exception"


class NodeNotConnected(TransportError):
    """No link to the node, and none could be opened. Source: `NodeNotConnectedException`."""

    kind = "node_not_connected_exception"

    def __init__(self, node_name: str, address: str, detail: str = "Node not connected") -> None:
        super().__init__(f"[{node_name}][{address}] {detail}")


class NodeDisconnected(TransportError):
    """The link closed while a request was on its way. Source: `NodeDisconnectedException`."""

    kind = "node_disconnected_exception"

    def __init__(self, node_name: str, address: str, action: str) -> None:
        super().__init__(f"[{node_name}][{address}][{action}] disconnected")


class ReceiveTimeout(TransportError):
    """No answer in time; the request may still run. Source: `ReceiveTimeoutTransportException`."""

    kind = "receive_timeout_transport_exception"

    def __init__(self, node_name: str, address: str, action: str, request_id: int, timeout_ms: int) -> None:
        super().__init__(
            f"[{node_name}][{address}][{action}] request_id [{request_id}] timed out after [{timeout_ms}ms]"
        )


class ActionNotFound(TransportError):
    """No handler for an action. Source: `ActionNotFoundTransportException`."""

    kind = "action_not_found_transport_exception"

    def __init__(self, action: str) -> None:
        super().__init__(f"No handler for action [{action}]")
