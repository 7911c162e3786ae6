"""`cluster.faults`: faults as `with` blocks that heal at their end, check that they did, and prove that they struck."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from taskfan.cluster.errors import ClusterError
from taskfan.cluster.fault_fields import AnyRule, Nodes, Options, Patterns, RuleFields, ShapeOptions
from taskfan.cluster.messages import FaultCommand, FaultReport
from taskfan.cluster.stuck import Stuck
from taskfan.cluster.whole import wait_until_whole
from taskfan.node.faults.rule import REORDER_LIMIT_S, InvalidFault, Kind, read_rule

if TYPE_CHECKING:
    from taskfan.cluster.cluster import Cluster
    from taskfan.cluster.cluster_node import ClusterNode

# Of a failed test the caller's lines are of interest, not these.
__tracebackhide__ = True

SEED_VARIABLE = "TASKFAN_SEED"
# The running test as pytest takes it from where it was started; the pytest plugin says it.
TEST_VARIABLE = "TASKFAN_TEST"
# What a saturated pool keeps doing: bans and the cluster's own messages run on the thread that reads them.
ALL_WORK = ["*", "-internal:*"]


# What was made and thrown away without ever being set: the pytest plugin looks here, and fails the test.
never_set: list[str] = []


class FaultNeverFired(AssertionError):
    """A fault was set and removed, and spoiled nothing: the test does not test what it says."""


class Faults:
    """The faults of one cluster.

        with cluster.faults.drop(action="*lists[n]", to="opensearch-node2", on="reply", first=2) as fault:
            ...
        assert fault.hit_count == 2

    Leaving the block removes the fault, waits until the cluster is whole again, and raises FaultNeverFired when
    nothing was spoiled, unless `may_not_fire` was said. Nodes are given by name, id, pattern, attribute (`zone:a`) or
    as `ClusterNode`; the fields of rules are those of `taskfan.node.faults.rule.FaultRule`.

    `seed` decides all that is left to chance; it comes from the environment variable TASKFAN_SEED, or is drawn. The
    n-th fault that is made draws from it in the same way in every run.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        given = os.environ.get(SEED_VARIABLE, "")
        self.seed = int(given) if given.isdecimal() else secrets.randbelow(2**32)
        self._made = 0
        # What is in force, for the cluster is only whole again when nothing is.
        self._active: list[_Scope] = []

    # ------------------------------------------------------------------ messages

    def rule(self, kind: Kind, **fields: Unpack[AnyRule]) -> Fault:
        """A fault of one rule of any kind. `from_` stands for the field `from`."""
        values: dict[str, Any] = {"kind": kind, **fields}
        name, may_not_fire = values.pop("name", ""), values.pop("may_not_fire", False)
        return self.rules([values], name=name, may_not_fire=may_not_fire)

    def rules(self, rules: Sequence[dict[str, Any]], *, name: str = "", may_not_fire: bool = False) -> Fault:
        """A fault of several rules, which come and go together. Raises ClusterError: one cannot be meant."""
        paths = [""] if len(rules) == 1 else [f"rules[{number}]." for number in range(len(rules))]
        read = [self._rule(values, path) for values, path in zip(rules, paths, strict=True)]
        return Fault(self, FaultCommand("add", name=name, rules=read), may_not_fire)

    def _rule(self, values: dict[str, Any], path: str) -> dict[str, Any]:
        self._made += 1
        written = {name.rstrip("_"): _plain(value) for name, value in values.items() if value is not None}
        if "probability" in written or "jitter" in written or "distribution" in written:
            digest = hashlib.blake2b(f"{self.seed} {self._made}".encode(), digest_size=4).digest()
            written.setdefault("seed", int.from_bytes(digest, "big"))
        try:
            # The supervisor does it again, with the nodes that there are; here it shows in the line that is wrong.
            read_rule(written)
        except InvalidFault as error:
            raise ClusterError(str(InvalidFault(f"{path}{error.field}", error.problem))) from None
        return written

    def drop(self, action: Patterns = "*", **fields: Unpack[RuleFields]) -> Fault:
        """Requests (or with `on="reply"` replies) get lost: whoever asked waits for its timeout, or the link's end."""
        return self.rule("drop", action=action, **fields)

    def fail(self, action: Patterns = "*", **fields: Unpack[RuleFields]) -> Fault:
        """Whoever asked sees `error`: at once and without a trace there, or with `on="reply"` though it ran there."""
        return self.rule("fail", action=action, **fields)

    def delay(self, delay: str, action: Patterns = "*", **fields: Unpack[RuleFields]) -> Fault:
        """Requests or replies come later."""
        return self.rule("delay", action=action, delay=delay, **fields)

    def refuse(self, action: Patterns = "*", **fields: Unpack[RuleFields]) -> Fault:
        """Requests are rejected as by a full pool; with `how="not_connected"` as by a closed port."""
        return self.rule("refuse", action=action, **fields)

    def hang_up(self, action: Patterns = "*", **fields: Unpack[RuleFields]) -> Fault:
        """A request, or its reply, closes the link that it came on."""
        return self.rule("disconnect", action=action, **fields)

    def duplicate(self, action: Patterns = "*", **fields: Unpack[RuleFields]) -> Fault:
        """Replies come twice."""
        return self.rule("duplicate", action=action, **fields)

    def reorder(self, action: Patterns = "*", **fields: Unpack[RuleFields]) -> Fault:
        """Requests or replies are overtaken by the next one."""
        return self.rule("reorder", action=action, **fields)

    # ------------------------------------------------------------------ nodes

    def disconnect(self, node: Nodes, **options: Unpack[Options]) -> Fault:
        """All links from and to a node are closed, and none opens."""
        return self._both_ways(node, {"kind": "cut"}, "disconnect", options)

    def blackhole(self, node: Nodes, **options: Unpack[Options]) -> Fault:
        """Nothing passes from or to a node, and nobody is told: its links end when checks are not answered."""
        return self._both_ways(node, {"kind": "blackhole"}, "blackhole", options)

    def slow(self, node: Nodes, bandwidth: str, **options: Unpack[Options]) -> Fault:
        """The links from and to a node carry so many bytes a second, such as `64kb`."""
        return self._both_ways(node, {"kind": "slow", "bandwidth": bandwidth}, "slow", options)

    def full(self, node: Nodes, **options: Unpack[Options]) -> Fault:
        """A node refuses work of others as a saturated pool does: `rejected_execution_exception`."""
        options.setdefault("name", "full")
        return self.rule("refuse", action=ALL_WORK, to=node, **options)

    def _both_ways(self, node: Nodes, link: dict[str, Any], name: str, options: Options) -> Fault:
        options.setdefault("name", name)
        return self.rules([{**link, "from": node}, {**link, "to": node}], **options)

    def pause(self, node: str | ClusterNode) -> NodeCondition:
        """A node stands still (SIGSTOP), and goes on at the end of the block."""
        found = self._node(node)
        return NodeCondition(self, found, found.pause, found.resume)

    def kill(self, node: str | ClusterNode) -> NodeCondition:
        """A node's process is killed (SIGKILL), and started again at the end of the block."""
        found = self._node(node)
        return NodeCondition(self, found, found.kill, found.start)

    def stop(self, node: str | ClusterNode) -> NodeCondition:
        """A node ends by itself (SIGTERM), and is started again at the end of the block."""
        found = self._node(node)
        return NodeCondition(self, found, found.stop, found.start)

    def restart(self, node: str | ClusterNode) -> None:
        """Stop and start a node now."""
        self._node(node).restart()

    def _node(self, node: str | ClusterNode) -> ClusterNode:
        return self._cluster.node(node)

    # ------------------------------------------------------------------ shapes

    def isolate(self, nodes: Nodes, **link: Unpack[ShapeOptions]) -> Fault:
        """These nodes reach one another, and nobody else.

        What happens to the links is `kind` here and for all shapes: `cut` unless said, `blackhole`, or `slow` with its
        `bandwidth`.
        """
        return self._shape("isolate", {"nodes": _plain(nodes)}, link)

    def halves(self, nodes: Nodes = None, **link: Unpack[ShapeOptions]) -> Fault:
        """Two parts that do not reach each other: these nodes and the rest, or the first half and the second."""
        return self._shape("halves", {"nodes": _plain(nodes)}, link)

    def bridge(self, nodes: Nodes, **link: Unpack[ShapeOptions]) -> Fault:
        """Two halves that do not reach each other, while these nodes reach both."""
        return self._shape("bridge", {"nodes": _plain(nodes)}, link)

    def ring(self, **link: Unpack[ShapeOptions]) -> Fault:
        """Each node reaches its two neighbours only."""
        return self._shape("ring", {}, link)

    def one_way(self, from_: Nodes, to: Nodes = "*", **link: Unpack[ShapeOptions]) -> Fault:
        """These nodes do not reach those; the other way all is well."""
        return self._shape("one_way", {"from": _plain(from_), "to": _plain(to)}, link)

    def by_attribute(self, attribute: str, **link: Unpack[ShapeOptions]) -> Fault:
        """Nodes whose attribute, such as `zone`, differs do not reach each other."""
        return self._shape("by_attribute", {"attribute": attribute}, link)

    def _shape(self, shape: str, values: dict[str, Any], options: ShapeOptions) -> Fault:
        link: dict[str, Any] = {"kind": "cut", **options}
        name, may_not_fire = link.pop("name", ""), link.pop("may_not_fire", False)
        given = {name: value for name, value in values.items() if value is not None}
        return Fault(self, FaultCommand("shape", name=name, shape=shape, values=given, link=link), may_not_fire)

    @property
    def stuck(self) -> Stuck:
        """Tasks that hang as they do in bad times."""
        return Stuck(self._cluster, self)

    # ------------------------------------------------------------------ all of them

    def all(self) -> list[FaultReport]:
        """All faults that are set, by whomever, with the number of their hits."""
        return self._ask(FaultCommand("list"))

    def reset(self) -> None:
        """Remove all faults, whoever set them."""
        self._ask(FaultCommand("reset"))

    def heal(self) -> None:
        """Remove all faults, let paused nodes go on, and return when the cluster is whole."""
        self._ask(FaultCommand("heal"))
        wait_until_whole(self._cluster)

    def reproduce_with(self) -> str:
        """A line to paste that draws the same chances again."""
        test = os.environ.get(TEST_VARIABLE) or os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
        words = ["pytest", test] if test else ["python", *sys.argv]
        return f"REPRODUCE WITH: {SEED_VARIABLE}={self.seed} {shlex.join(words)}"

    def note_in(self, error: BaseException) -> None:
        """Add that line to what went wrong, once."""
        line = self.reproduce_with()
        if isinstance(error, Exception) and line not in getattr(error, "__notes__", ()):
            error.add_note(line)

    def _ask(self, command: FaultCommand) -> list[FaultReport]:
        return self._cluster.ask_faults(command)


class _Scope:
    """What is in force for a `with` block."""

    _was_set = False

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
        self._faults._active.append(self)
        return self

    def remove(self) -> None:
        """Undo it, and return when the cluster is whole, if nothing else is in force. Twice is fine."""
        if self in self._faults._active:
            self._faults._active.remove(self)
            self._end()
            if not self._faults._active:
                wait_until_whole(self._faults._cluster)

    def _begin(self) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        raise NotImplementedError

    def _verify(self) -> None:
        """After the end of a block without an error."""

    def __enter__(self) -> Self:
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
        return await asyncio.to_thread(self.set)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, trace)


class Fault(_Scope):
    """A fault of one or several rules.

    `hit_count` and `hits` say what it has spoiled: as it is now, or as it was when the fault was removed. Of each rule
    a member keeps the first thousand hits; all are counted.
    """

    def __init__(self, faults: Faults, command: FaultCommand, may_not_fire: bool) -> None:
        super().__init__(faults, f"a fault ({_told(command.rules) or command.shape})")
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

    def change(self, **fields: Any) -> None:
        """Give fields of its rules other values; None is their default. It counts anew."""
        values = {name.rstrip("_"): _plain(value) for name, value in fields.items()}
        [self._report] = self._faults._ask(FaultCommand("change", fault=self.id, values=values))

    def _known(self) -> FaultReport:
        if self._report is None:
            raise ClusterError("This fault was not set: use it in a `with` block, or call set().")
        return self._report

    def _current(self) -> FaultReport:
        if self._is_set:
            [self._report] = self._faults._ask(FaultCommand("hits", fault=self.id))
        return self._known()

    def _begin(self) -> None:
        [self._report] = self._faults._ask(self._command)
        self._is_set = True

    def _end(self) -> None:
        self._is_set = False
        [self._report] = self._faults._ask(FaultCommand("remove", fault=self.id))

    def _verify(self) -> None:
        if not self._known().hit_count and not self._may_not_fire:
            why = f"The fault {self.id} ({_told(self.rules)}) spoiled nothing."
            if any(rule["kind"] == "reorder" for rule in self.rules):
                why += f" A message is held for {REORDER_LIMIT_S:g} s, and reordered if another overtakes it meanwhile."
            raise FaultNeverFired(f"{why} If that may be, say may_not_fire=True.")


class NodeCondition(_Scope):
    """A node that is paused, killed or stopped."""

    def __init__(self, faults: Faults, node: ClusterNode, begin: Callable[[], None], end: Callable[[], None]) -> None:
        super().__init__(faults, f"a condition of {node.name}")
        self.node = node
        self._begin_with, self._end_with = begin, end

    def _begin(self) -> None:
        self._begin_with()

    def _end(self) -> None:
        self._end_with()


def _told(rules: Sequence[dict[str, Any]]) -> str:
    return "; ".join(", ".join(f"{name}={value}" for name, value in rule.items()) for rule in rules[:3])


def _plain(value: Any) -> Any:
    """Nodes by their names, in lists too."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return getattr(value, "name", value)
