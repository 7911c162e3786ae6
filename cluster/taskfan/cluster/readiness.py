"""Asks members over their own ports whether they serve, as a client would."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

# Questions at once: more would only wait for the same cores.
AT_ONCE = 32
# Unsaid it would be indented, for people.
ROOT = "/?pretty=false"
# A list of its own tasks, which are on every node that is asked: whoever is missing did not answer.
LIST = "/_tasks?actions=cluster:monitor/tasks/lists*"


class NotReady(Exception):
    """An answer that a ready member would not give."""


Answer = TypeVar("Answer", bound=msgspec.Struct)


class _Root(msgspec.Struct):
    name: str
    cluster_name: str


class _List(msgspec.Struct):
    nodes: dict[str, msgspec.Raw] = {}
    node_failures: list[msgspec.Raw] = []


async def get(host: str, port: int, path: str) -> bytes:
    """The body of an answer 200. The caller bounds the wait.

    Raises:
        NotReady: another status, or no answer.
    """
    try:
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 20)
    except OSError as error:
        raise NotReady(f"no connection to {host}:{port}: {error.strerror}") from None
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.read()
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise NotReady(f"{host}:{port} gave no answer to GET {path}: {error}") from None
    finally:
        writer.close()
    status = head.split(b" ", 2)[1]
    if status != b"200":
        raise NotReady(f"{host}:{port} answered GET {path} with {status.decode()}: {body[:500].decode()}")
    return body


async def check_root(host: str, port: int, cluster_name: str, node_name: str) -> None:
    """The member itself answers on its port, and nobody else. Raises NotReady."""
    root = _decode(await get(host, port, ROOT), _Root)
    if (root.cluster_name, root.name) != (cluster_name, node_name):
        raise NotReady(f"{host}:{port} is [{root.name}] of [{root.cluster_name}], not [{node_name}]")


async def check_roots(members: Iterable[tuple[str, int, str]], cluster_name: str) -> None:
    """Every member (host, HTTP port, name) answers on its port. Raises NotReady."""
    permits = asyncio.Semaphore(AT_ONCE)

    async def check(host: str, port: int, name: str) -> None:
        async with permits:
            await check_root(host, port, cluster_name, name)

    await asyncio.gather(*(check(*member) for member in members))


async def check_list(host: str, port: int, node_ids: Sequence[str], *, only_these: bool) -> None:
    """One list through one member returns every one of these nodes. Raises NotReady.

    Args:
        only_these: ask no others; one of them may be paused, and would hold up the answer.
    """
    path = f"{LIST}&nodes={','.join(node_ids)}" if only_these else LIST
    answer = _decode(await get(host, port, path), _List)
    if missing := [node_id for node_id in node_ids if node_id not in answer.nodes]:
        failures = b", ".join(bytes(failure) for failure in answer.node_failures).decode()
        raise NotReady(f"a list through {host}:{port} came without {', '.join(missing)}: {failures or 'no failures'}")


def _decode(body: bytes, type: type[Answer]) -> Answer:
    try:
        return msgspec.json.decode(body, type=type)
    except msgspec.DecodeError as error:
        raise NotReady(f"an answer that cannot be read ({error}): {body[:500].decode(errors='replace')}") from None
