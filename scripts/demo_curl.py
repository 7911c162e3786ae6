"""How the demo asks: each request is shown as one would type it with curl, with a line of why, and what came back."""

import urllib.request

JSON = "application/json"


def ask(url: str, method: str = "GET", body: str = "", kind: str = JSON) -> str:
    request = urllib.request.Request(url, body.encode() or None, {"Content-Type": kind}, method=method)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        return str(answer.read().decode())


def tell(why: str, url: str, method: str = "GET", body: str = "", file: str = "") -> str:
    """Ask and show; a body that is too long to read is shown as the `file` that a reader would put it in."""
    kind, sent = JSON, ""
    if file:
        kind, sent = "application/x-ndjson", f" -H 'Content-Type: application/x-ndjson' --data-binary @{file}"
    elif body:
        sent = f" -H 'Content-Type: {JSON}' -d '{body}'"
    verb = "" if method == "GET" else f" -X {method}"
    answer = ask(url, method, body, kind)
    print(f"\n# {why}\n$ curl{verb} '{url}'{sent}\n{answer.rstrip()}", flush=True)
    return answer
