"""The other cluster that a reindex is to read from. Pure.

Differs: none is ever on the list of those allowed, so what is read here is only checked.
Source: OpenSearch `ReindexRequest.buildRemoteInfo`.
"""

from __future__ import annotations

import re
from typing import Any

from taskfan.node.errors import IllegalArgument, Origin, TaskfanError
from taskfan.node.index.field_values import java_text
from taskfan.node.index.java_maps import class_cast
from taskfan.node.time_value import parse_time_ns

_HOST = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?P<at>[^/:?#]+:\d+)(?:[/?#].*)?")


class _UriSyntax(TaskfanError):
    """Java's URISyntaxException."""

    kind = "u_r_i_syntax_exception"
    origin = Origin.FOREIGN


class _NullPointer(TaskfanError):
    """Java's NullPointerException."""

    kind = "null_pointer_exception"
    origin = Origin.KNOWN


def read_remote(given: Any) -> str | None:
    """The host and port of another cluster, which is refused once the work begins; None where none is named."""
    if given is None:
        return None
    if not isinstance(given, dict):
        raise class_cast(given, "java.util.Map")
    left = dict(given)
    for name in ("username", "password"):
        _text(left, name)
    host = _text(left, "host")
    found = _HOST.fullmatch(host) if host is not None else None
    if host is None:
        raise _NullPointer(None)
    if found is None:
        form = "[scheme]://[host]:[port](/[pathPrefix])?"
        cause = _UriSyntax(f"The port was not defined in the [host]: {host}")
        raise IllegalArgument(f"[host] must be of the form {form} but was [{host}]", cause=cause)
    _check_headers(left.pop("headers", None))
    for name in ("socket_timeout", "connect_timeout"):
        timeout = _text(left, name)
        if timeout is not None:
            parse_time_ns(timeout, name)
    if left:
        raise IllegalArgument(f"Unsupported fields in [remote]: [{','.join(left)}]")
    return found["at"]


def _text(given: dict[str, Any], name: str) -> str | None:
    value = given.pop(name, None)
    if value is not None and not isinstance(value, str):
        raise IllegalArgument(f"Expected [{name}] to be a string but was [{java_text(value)}]")
    return value


def _check_headers(given: Any) -> None:
    if given is None:
        return
    if not isinstance(given, dict):
        raise IllegalArgument(f"Expected [headers] to be an object containing strings but was [{java_text(given)}]")
    for name, value in given.items():
        if not isinstance(value, str):
            told = f"{name}={java_text(value)}"
            raise IllegalArgument(f"Expected [headers] to be an object containing strings but has [{told}]")
