"""Sends one request exactly as a case writes it, and keeps of the answer what a recording keeps."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.parse

import cbor2
import httpx

from tests.golden.scenarios import Json

KEPT_HEADERS = ("content-type", "x-opaque-id", "warning", "allow", "x-opensearch-version", "x-request-id")
REQUEST_LIMIT_S = 60.0


def send(url: str, do: dict[str, Json]) -> dict[str, Json]:
    """Send one request; a failed connection is an answer without a status.

    Returns:
        `{"status", "headers", "body", "took_ms"}`, or `{"status": None, "error"}`.
    """
    content, headers = _content(do)
    # The target goes out byte by byte: a tidy URL would hide what servers do with an untidy one.
    target = urllib.parse.quote(do["path"], safe="".join(map(chr, range(33, 127)))).encode()
    wire = [(k, v) for k, vs in headers.items() for v in (vs if isinstance(vs, list) else [vs])]
    request = httpx.Request(
        do["method"],
        url,
        content=content,
        extensions={"target": target},
        headers=[(k.encode(), str(v).encode()) for k, v in wire if v is not None],
    )
    try:
        # One connection for each request: a kept one may belong to a node killed since. All is plain
        # HTTP, and `verify` would load certificates for longer than most answers take.
        with httpx.Client(trust_env=False, verify=False, timeout=do.get("limit_s", REQUEST_LIMIT_S)) as client:
            begun = time.monotonic()
            answer = _answer(client.send(request))
        return answer | {"took_ms": round(1000 * (time.monotonic() - begun))}
    except httpx.TimeoutException:
        return {"status": None, "error": "no answer in time"}
    except httpx.ConnectError:
        return {"status": None, "error": "connection refused"}
    except httpx.TransportError:
        return {"status": None, "error": "connection lost"}


def _content(do: dict[str, Json]) -> tuple[bytes | None, dict[str, Json]]:
    headers = dict(do.get("headers") or {})
    if "ndjson" in do:
        content, kind = "".join(json.dumps(line) + "\n" for line in do["ndjson"]), "application/x-ndjson"
    elif "raw" in do:
        content, kind = do["raw"], "application/json"
    elif "body" in do:
        content, kind = json.dumps(do["body"]), "application/json"
    else:
        return None, headers
    named = "content-type" in {name.lower() for name in headers}
    return content.encode(), headers if named else headers | {"Content-Type": kind}


def _answer(response: httpx.Response) -> dict[str, Json]:
    headers = {}
    for name in KEPT_HEADERS:
        values = response.headers.get_list(name)
        if values:
            headers[name] = values[0] if len(values) == 1 else values
    return {"status": response.status_code, "headers": headers, "body": _body(response)}


def _body(response: httpx.Response) -> Json:
    kind = response.headers.get("content-type", "")
    if not response.content:
        return None
    if "json" in kind:
        with contextlib.suppress(ValueError):
            return json.loads(response.content)
    if "cbor" in kind:
        with contextlib.suppress(cbor2.CBORDecodeError):
            return cbor2.loads(response.content)
        return {"cbor": response.content.hex()}
    if "smile" in kind:
        return {"smile": response.content.hex()}
    return response.text
