"""What is wrong with a request before anybody looks at what it asks. Pure."""

from __future__ import annotations

from taskfan.node.errors import IllegalArgument, Origin, TaskfanError


class UnexpectedMethod(TaskfanError):
    """A method that HTTP does not know. Source: OpenSearch `RestController`, which tells it without a type."""

    http_status = 405

    def __init__(self) -> None:
        super().__init__("Unexpected HTTP method")


class TooLarge(TaskfanError):
    """A body beyond `http.max_content_length`."""

    kind = "content_too_long_exception"
    http_status = 413

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the body is larger than http.max_content_length [{limit_bytes}] bytes")


class TooLongHeader(TaskfanError):
    """A head beyond its limit. Source: Netty `TooLongHttpHeaderException`."""

    kind = "too_long_http_header_exception"
    http_status = 400
    origin = Origin.FOREIGN

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"HTTP header is larger than {limit_bytes} bytes.")


class TooLongLine(TaskfanError):
    """A request line beyond its limit. Source: Netty `TooLongHttpLineException`."""

    kind = "too_long_http_line_exception"
    http_status = 400
    origin = Origin.FOREIGN

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"An HTTP line is larger than {limit_bytes} bytes.")


class RequestTimeout(TaskfanError):
    """A request that does not come to its end."""

    kind = "request_timeout_exception"
    http_status = 408

    def __init__(self, part: str, limit_s: float) -> None:
        super().__init__(f"the {part} of the request was not complete after [{limit_s:g}s]")


class TooManyConnections(TaskfanError):
    """A connection beyond the limit of the server."""

    kind = "too_many_connections_exception"
    http_status = 503

    def __init__(self, limit: int) -> None:
        super().__init__(f"the server has [{limit}] connections, and takes no more")


def broken(what: object) -> TaskfanError:
    """Bytes that are no request, or one that two readers would take for different ones."""
    return IllegalArgument(f"invalid HTTP request: {what}")
