"""A shell that does what a worker of the reindex family says, over memory and a clock of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from taskfan.node.errors import TaskfanError
from taskfan.node.index.bulk import Item, ItemDone, ItemFailure
from taskfan.node.index.by_scroll_body import read_reindex
from taskfan.node.index.by_scroll_request import ByScrollRequest
from taskfan.node.index.by_scroll_status import ByScrollResponse, float32
from taskfan.node.index.by_scroll_worker import Finish, NextPage, Page, Refresh, SendBulk, Sleep, StartSearch, Worker
from taskfan.node.index.documents import CopyCounts, WriteRequest, write_answer
from taskfan.node.index.primary_writes import Written, write
from taskfan.node.index.search_phases import FetchedHit
from taskfan.node.index.shard import ShardCopy
from tests.node.index.builders import NOW_MS, SHARD, hit, mapping_of

MS, S = 1_000_000, 1_000_000_000
HITS = [hit(str(number), {"n": number}) for number in range(10)]
MAPPING = mapping_of([{"n": 1}])


def request(**body: Any) -> ByScrollRequest:
    source = {"index": "golden-src", **body.pop("source", {})}
    dest = {"index": "golden-dest", **body.pop("dest", {})}
    return read_reindex(json.dumps({"source": source, "dest": dest, **body}).encode())


class Shell:
    """Does what a worker says, over a destination in memory and a clock of its own."""

    def __init__(self, worker: Worker, hits: list[FetchedHit], copy: ShardCopy | None = None) -> None:
        self.worker, self.hits = worker, hits
        self.copy = copy or ShardCopy(SHARD, primary_term=1)
        self.now_ns, self.at = 5 * S, 0
        self.slept_ns: list[int] = []
        self.refreshed: tuple[str, ...] = ()
        # Called before each effect is carried out; a test cancels or rethrottles in it.
        self.before: Callable[[object], None] = lambda effect: None

    def run(self) -> ByScrollResponse | TaskfanError:
        effect = self.worker.start(self.now_ns)
        while not isinstance(effect, Finish):
            self.before(effect)
            match effect:
                case StartSearch() | NextPage():
                    size = self.worker.request.source.count
                    page = Page(len(self.hits), self.hits[self.at : self.at + size])
                    self.at += size
                    effect = self.worker.on_page(page, self.now_ns)
                case Sleep():
                    self.slept_ns.append(max(0, self.worker.wake_at_ns - self.now_ns))
                    self.now_ns = max(self.now_ns, self.worker.wake_at_ns)
                    effect = self.worker.woke(self.now_ns)
                case SendBulk(items):
                    effect = self.worker.on_bulk([(item.op_type, self.write(item)) for item in items], self.now_ns)
                case Refresh(indices):
                    self.refreshed = indices
                    effect = self.worker.refreshed(self.now_ns)
        return effect.outcome

    def write(self, item: WriteRequest) -> Item:
        try:
            written = write(self.copy, MAPPING, item, NOW_MS)
        except TaskfanError as error:
            return ItemFailure(item.index, item.id, error)
        assert isinstance(written, Written)
        answer = write_answer(item.index, written.done, CopyCounts(1, 1))
        return ItemDone(answer, written.done.result.http_status)


def finished(outcome: ByScrollResponse | TaskfanError) -> ByScrollResponse:
    assert isinstance(outcome, ByScrollResponse), outcome
    return outcome


def sleeping(rate: float = 0.01, **body: Any) -> tuple[Worker, int]:
    """A worker that has written one document and sleeps, and the moment it fell asleep."""
    worker = Worker.of(replace(request(source={"size": 1}, **body), requests_per_second=float32(rate)))
    shell = Shell(worker, HITS)

    class Asleep(Exception):
        pass

    def stop(effect: object) -> None:
        if isinstance(effect, Sleep) and worker.batches == 1:
            raise Asleep

    shell.before = stop
    with pytest.raises(Asleep):
        shell.run()
    return worker, shell.now_ns
