"""Requests that are not measured: setting up, looking whether it is so, taking back."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

LIMIT_S = 120.0


def text(url: str, method: str, path: str, body: object = None) -> bytes:
    """Send a request, on a connection of its own, and return the body of its answer. Raises ConnectionError."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=LIMIT_S)
    sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    connection.request(method, path, sent, {"Content-Type": "application/json"} if sent else {})
    answer = connection.getresponse()
    received = answer.read()
    connection.close()
    if answer.status >= 400:
        raise ConnectionError(f"{method} {path}: {received[:500].decode(errors='replace')}")
    return received


def call(url: str, method: str, path: str, body: object = None) -> Any:
    """The same, and the value of the answer."""
    return json.loads(text(url, method, path, body))
