"""A fault as a `with` block: set at its beginning, removed at its end, and whether it struck."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from taskfan.cluster.errors import ClusterError
from taskfan.cluster.messages import FaultCommand, FaultReport
from taskfan.node.faults.rule import REORDER_LIMIT_S

if TYPE_CHECKING:
    from taskfan.cluster.cluster_node import ClusterNode
    from taskfan.cluster.faults import Faults

# Of a failed test the caller's lines are of interest, not these.
__tracebackhide__ = True

# From one look at the hits to the next.
HITS_INTERVAL_S = 0.01

# What was made and thrown away without ever being set: the pytest plugin looks here, and fails the test.
never_set: list[str] = []


class FaultNeverFired(AssertionError):
    """A fault was set and removed, and spoiled nothing: the test does not test what it says."""


class Scope:
    """What is in force for a `with` block."""

    _was_set = False
    # Set without a block: nobody looks at its end whether it struck, but the pytest plugin.
    is_loose = True

    def __init__(self, faults: Faults, what: str) -> None:
        self._faults, self._what = faults, what

    def __del__(self) -> None:
        if not self._was_set and hasattr(self, "_what"):
            problem = f"{self._what} was made and never set: use it in a `with` block, or call set()"
            never_set.append(problem)
            warnings.warn(problem, RuntimeWarning, stacklevel=2)

    def set(self) -> Self:
        """Put it in force; a `with` block does this."""
        self._was_set = True
        self._begin()
        self._faults.active.append(self)
        return self

    def remove(self) -> None:
        """Undo it, and return when the cluster is whole, if nothing else is in force. Twice is fine."""
        if self in self._faults.active:
            self._faults.active.remove(self)
            self._end()
            if not self._faults.active:
                self._faults.wait_until_whole()

    def _begin(self) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        raise NotImplementedError

    def _verify(self) -> None:
        """After the end of a block without an error."""

    def __enter__(self) -> Self:
        self.is_loose = False
        return self.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.remove()
            if error is None:
                self._verify()
        except Exception as problem:
            if error is None:
                self._faults.note_in(problem)
                raise
            # What went wrong in the block is the better reason.
            error.add_note(f"Afterwards: {problem}")
        if error is not None:
            self._faults.note_in(error)

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, trace)


class Fault(Scope):
    """A fault of one or several rules.

    `hit_count` and `hits` say what it has spoiled: as it is now, or as it was when the fault was removed. Of each rule
    a member keeps the first thousand hits; all are counted.
    """

    def __init__(self, faults: Faults, command: FaultCommand, may_not_fire: bool) -> None:
        self._meant = told(command.rules) or command.shape
        super().__init__(faults, f"a fault ({self._meant})")
        self._command, self._may_not_fire = command, may_not_fire
        self._report: FaultReport | None = None
        self._is_set = False

    @property
    def id(self) -> str:
        """Its id with the supervisor."""
        return self._known().fault.id

    @property
    def rules(self) -> list[dict[str, Any]]:
        """Its rules as they were set, shapes and seeds written out."""
        return self._known().fault.rules

    @property
    def hit_count(self) -> int:
        """How many messages and links were spoiled."""
        return self._current().hit_count

    @property
    def hits(self) -> list[dict[str, Any]]:
        """What was spoiled: `kind`, `on`, `from`, `to`, `action`, `parent_task_id`, `opaque_id`, `at_ms` of each."""
        return self._current().hits

    def wait(self, hits: int = 1, timeout_s: float = 10) -> None:
        """Return when so many messages and links are spoiled: what was delayed is held then, and not there yet.

        Raises:
            ClusterError: there were fewer within the limit.
        """
        deadline_s = time.monotonic() + timeout_s
        while (count := self.hit_count) < hits:
            if time.monotonic() > deadline_s:
                what = f"The fault {self.id} ({told(self.rules)})"
                raise ClusterError(f"{what} struck {count} times within {timeout_s:g} s; {hits} were waited for.")
            time.sleep(HITS_INTERVAL_S)

    def __repr__(self) -> str:
        if self._report is None:
            return f"<Fault ({self._meant}), not set>"
        # Of a cluster that has ended meanwhile the last that it told is good enough.
        with suppress(ClusterError):
            self._current()
        count = self._report.hit_count
        return f"<Fault {self.id} ({told(self.rules)}): {count} hit{'s' * (count != 1)}>"

    def change(self, **fields: Any) -> None:
        """Give fields of its rules other values; None is their default. It counts anew."""
        values = {name.rstrip("_"): plain(value) for name, value in fields.items()}
        [self._report] = self._faults.ask(FaultCommand("change", fault=self.id, values=values))

    def _known(self) -> FaultReport:
        if self._report is None:
            raise ClusterError("This fault was not set: use it in a `with` block, or call set().")
        return self._report

    def _current(self) -> FaultReport:
        if self._is_set:
            [self._report] = self._faults.ask(FaultCommand("hits", fault=self.id))
        return self._known()

    def _begin(self) -> None:
        [self._report] = self._faults.ask(self._command)
        self._is_set = True

    def _end(self) -> None:
        self._is_set = False
        [self._report] = self._faults.ask(FaultCommand("remove", fault=self.id))

    def _verify(self) -> None:
        if why := self.idle():
            raise FaultNeverFired(why)

    def idle(self) -> str:
        """Why it proves nothing; empty when it struck, or need not."""
        if self._may_not_fire or self.hit_count:
            return ""
        why = f"The fault {self.id} ({told(self.rules)}) spoiled nothing."
        if any(rule["kind"] == "reorder" for rule in self.rules):
            why += f" A message is held for {REORDER_LIMIT_S:g} s, and reordered if another overtakes it meanwhile."
        return f"{why} If that may be, say may_not_fire=True."


class NodeCondition(Scope):
    """A node that is paused, killed or stopped."""

    def __init__(self, faults: Faults, node: ClusterNode, begin: Callable[[], None], end: Callable[[], None]) -> None:
        super().__init__(faults, f"a condition of {node.name}")
        self.node = node
        self._begin_with, self._end_with = begin, end

    def _begin(self) -> None:
        self._begin_with()

    def _end(self) -> None:
        self._end_with()


def told(rules: Sequence[dict[str, Any]]) -> str:
    return "; ".join(", ".join(f"{name}={value}" for name, value in rule.items()) for rule in rules[:3])


def plain(value: Any) -> Any:
    """Nodes by their names, in lists too."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return getattr(value, "name", value)
