"""Asks a cluster over HTTP as any client would; for the command line and `Cluster`, which are to import little."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from taskfan.cluster.errors import ClusterError

Parameters = Mapping[str, str | int | float | bool | None]


class RequestFailed(ClusterError):
    """The cluster answered with an error. `status` is HTTP's, `type` and `reason` are OpenSearch's."""

    def __init__(self, message: str, status: int, type: str, reason: str) -> None:
        super().__init__(message)
        self.status = status
        self.type = type
        self.reason = reason


class NoAnswerInTime(ClusterError):
    """Nothing came within the limit; what was asked for may happen all the same."""


def ask(
    url: str,
    method: str,
    path: str,
    parameters: Parameters | None = None,
    body: object = None,
    *,
    opaque_id: str = "",
    timeout_s: float = 30.0,
) -> Any:
    """Send a request and return the JSON of the answer.

    Args:
        parameters: None values are left out; booleans are written as OpenSearch reads them.
        opaque_id: `X-Opaque-Id`, by which its tasks are found.
        timeout_s: limit for each read.

    Raises:
        RequestFailed: the answer is an error.
        ClusterError: there is no answer.
    """
    # Takes as long to import as a whole cluster of one to start: imported when somebody asks.
    import http.client

    # As people type it: localhost:9200.
    url = url if "://" in url else f"http://{url}"
    address = urlsplit(url)
    query = urlencode({name: _text(value) for name, value in (parameters or {}).items() if value is not None})
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=timeout_s)
    headers = {} if body is None else {"Content-Type": "application/json"}
    headers |= {"X-Opaque-Id": opaque_id} if opaque_id else {}
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, f"{path}?{query}" if query else path, data, headers)
        answer = connection.getresponse()
        status, text = answer.status, answer.read()
    except TimeoutError:
        raise NoAnswerInTime(f"{url} gave no answer to {method} {path} within {timeout_s:g} s.") from None
    except http.client.RemoteDisconnected:
        raise ClusterError(f"{url} gave no answer to {method} {path}: it closed the connection.") from None
    except http.client.BadStatusLine:
        raise ClusterError(f"{url} does not speak HTTP/1: is that a transport port? HTTP is on 9200, 9201 …") from None
    except (OSError, http.client.HTTPException) as error:
        raise ClusterError(f"{url} gave no answer to {method} {path}: {error}.") from None
    finally:
        connection.close()
    return _answer(status, text, f"{method} {path}")


def _text(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _answer(status: int, text: bytes, what: str) -> Any:
    try:
        answer = json.loads(text)
    except ValueError:
        raise ClusterError(f"{what} was answered with no JSON: {text[:200].decode(errors='replace')}.") from None
    if status < 400:
        return answer
    error = answer.get("error") if isinstance(answer, dict) else None
    kind, reason = (error.get("type"), error.get("reason")) if isinstance(error, dict) else ("error", error)
    raise RequestFailed(f"{what} was answered with {status}, {kind}: {reason}", status, str(kind), str(reason))
