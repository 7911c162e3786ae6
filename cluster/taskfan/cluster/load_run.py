"""Sends a load: each operation when it is due, whether or not earlier ones are answered, within a bound."""

from __future__ import annotations

import http.client
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlsplit

from taskfan.cluster.errors import ClusterError
from taskfan.cluster.load_operations import Operation, operations, preparations
from taskfan.cluster.load_profile import LoadProfile
from taskfan.cluster.load_summary import Summary
from taskfan.cluster.rest_client import RequestFailed, ask

# Longer than any operation takes that gets on, and than a cluster takes to give up a node that stands still.
LIMIT_S = 60.0
# How often those who watch are told, in seconds.
WATCH_EVERY_S = 0.1
ERROR_LENGTH = 200
Watch = Callable[[float, Summary, int], object]


class _Client:
    """One kept-alive connection, for one thread."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self._connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=LIMIT_S)

    def error_of(self, operation: Operation) -> str:
        """Send it and read the answer. Returns what was wrong with it; empty if nothing was."""
        try:
            self._connection.request(
                operation.method, operation.path, operation.body, {"Content-Type": operation.content_type}
            )
            answer = self._connection.getresponse()
            return _error_in(operation, answer.status, answer.read())
        except (OSError, http.client.HTTPException) as error:
            # It is opened anew by the next request.
            self.close()
            return f"{type(error).__name__}: {error}"

    def close(self) -> None:
        self._connection.close()


def _error_in(operation: Operation, status: int, body: bytes) -> str:
    if status >= 400:
        return f"{status}: {body[:ERROR_LENGTH].decode(errors='replace')}"
    if operation.kind == "bulk" and json.loads(body)["errors"]:
        return f"some documents were refused: {body[:ERROR_LENGTH].decode(errors='replace')}"
    if operation.kind == "reindex" and json.loads(body)["failures"]:
        return f"some documents were not copied: {body[:ERROR_LENGTH].decode(errors='replace')}"
    return ""


class LoadRun:
    """One load against these nodes, which are asked in turn.

    Raises:
        ClusterError: its indices cannot be made.
    """

    def __init__(self, urls: Sequence[str], profile: LoadProfile, seed: int) -> None:
        self._urls, self._profile, self._seed = urls, profile, seed
        kinds = dict.fromkeys(type(kind).__struct_config__.tag for kind in profile.mix)
        self.summary = Summary.of(map(str, kinds), seed)
        self._made: list[str] = []
        # A thread takes one only when it is free: what waits here is at most what may be in flight.
        self._due: queue.SimpleQueue[tuple[float, Operation] | None] = queue.SimpleQueue()
        self._in_flight = 0
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Make and fill the indices that are not there."""
        index = self._profile.index
        settings = {"settings": {"number_of_shards": index.shards, "number_of_replicas": index.replicas}}
        for name in (index.name, f"{index.name}-copy"):
            # From now on it may be there, whatever becomes of the answer.
            self._made.append(name)
            try:
                ask(self._urls[0], "PUT", f"/{name}", None, settings, timeout_s=LIMIT_S)
            except RequestFailed as error:
                self._made.remove(name)
                if error.type != "resource_already_exists_exception":
                    raise
        client = _Client(self._urls[0])
        for operation in preparations(self._profile, self._seed):
            if error_text := client.error_of(operation):
                raise ClusterError(f"The index [{index.name}] cannot be filled: {error_text}")
        client.close()

    def clean_up(self) -> list[str]:
        """Delete the indices that `prepare` made. Returns what may be left of them: `NAME: why`."""
        left = []
        for name in self._made:
            try:
                ask(self._urls[0], "DELETE", f"/{name}", timeout_s=LIMIT_S)
            except ClusterError as error:
                if not (isinstance(error, RequestFailed) and error.type == "index_not_found_exception"):
                    left.append(f"{name}: {error.message}")
        self._made.clear()
        return left

    def run(self, seconds: float, watch: Watch) -> Summary:
        """Send for so long, or until interrupted; wait for the answers; returns what came of it."""
        threads = [
            threading.Thread(target=self._work, args=(self._urls[number % len(self._urls)],), daemon=True)
            for number in range(self._profile.in_flight)
        ]
        for thread in threads:
            thread.start()
        begun_s = time.perf_counter()
        try:
            self._send(begun_s, seconds, watch)
        except KeyboardInterrupt:
            pass  # Enough: the summary tells what was done until now.
        finally:
            for _ in threads:
                self._due.put(None)
            for thread in threads:
                thread.join(LIMIT_S)
        self.summary.took_s = time.perf_counter() - begun_s
        return self.summary

    def _send(self, begun_s: float, seconds: float, watch: Watch) -> None:
        for due_s, operation in operations(self._profile, self._seed):
            for now_s in _until(begun_s, min(due_s, seconds)):
                watch(now_s, self.summary, self._in_flight)
            if due_s >= seconds:
                return
            with self._lock:
                is_full = self._in_flight >= self._profile.in_flight
                if is_full:
                    self.summary.kinds[operation.kind].not_sent += 1
                else:
                    self._in_flight += 1
            if not is_full:
                self._due.put((begun_s + due_s, operation))

    def _work(self, url: str) -> None:
        client = _Client(url)
        while (taken := self._due.get()) is not None:
            due_s, operation = taken
            error = client.error_of(operation)
            latency_ms = 1000 * (time.perf_counter() - due_s)
            with self._lock:
                self.summary.kinds[operation.kind].add(latency_ms, error)
                self._in_flight -= 1
        client.close()


def _until(begun_s: float, due_s: float) -> Iterator[float]:
    """Wait until `due_s` after `begun_s`; yields the time that has passed, now and then."""
    while (now_s := time.perf_counter() - begun_s) < due_s:
        yield now_s
        time.sleep(min(WATCH_EVERY_S, due_s - now_s))
