"""`cluster.faults`: faults as `with` blocks that heal at their end, check that they did, and prove that they struck."""

from __future__ import annotations

import hashlib
import os
import secrets
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Unpack

from taskfan.cluster.errors import ClusterError
from taskfan.cluster.fault_fields import AnyRule, Nodes, Options, Patterns, RuleFields, ShapeOptions
from taskfan.cluster.fault_scopes import Fault, FaultNeverFired, NodeCondition, Scope, plain
from taskfan.cluster.messages import FaultCommand, FaultReport
from taskfan.cluster.stuck import Stuck
from taskfan.cluster.whole import wait_until_whole
from taskfan.node.faults.rule import InvalidFault, Kind, read_rule

if TYPE_CHECKING:
    from taskfan.cluster.cluster import Cluster
    from taskfan.cluster.cluster_node import ClusterNode

__all__ = ["Fault", "FaultNeverFired", "Faults", "NodeCondition"]

# Of a failed test the caller's lines are of interest, not these.
__tracebackhide__ = True

SEED_VARIABLE = "TASKFAN_SEED"
# The running test as pytest takes it from where it was started; the pytest plugin says it.
TEST_VARIABLE = "TASKFAN_TEST"
# What a saturated pool keeps doing: bans and the cluster's own messages run on the thread that reads them.
ALL_WORK = ["*", "-internal:*"]


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
        self.active: list[Scope] = []

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
        written = {name.rstrip("_"): plain(value) for name, value in values.items() if value is not None}
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
        return self._shape("isolate", {"nodes": plain(nodes)}, link)

    def halves(self, nodes: Nodes = None, **link: Unpack[ShapeOptions]) -> Fault:
        """Two parts that do not reach each other: these nodes and the rest, or the first half and the second."""
        return self._shape("halves", {"nodes": plain(nodes)}, link)

    def bridge(self, nodes: Nodes, **link: Unpack[ShapeOptions]) -> Fault:
        """Two halves that do not reach each other, while these nodes reach both."""
        return self._shape("bridge", {"nodes": plain(nodes)}, link)

    def ring(self, **link: Unpack[ShapeOptions]) -> Fault:
        """Each node reaches its two neighbours only."""
        return self._shape("ring", {}, link)

    def one_way(self, from_: Nodes, to: Nodes = "*", **link: Unpack[ShapeOptions]) -> Fault:
        """These nodes do not reach those; the other way all is well."""
        return self._shape("one_way", {"from": plain(from_), "to": plain(to)}, link)

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
        return self.ask(FaultCommand("list"))

    def reset(self) -> None:
        """Remove all faults, whoever set them."""
        self.ask(FaultCommand("reset"))

    def heal(self) -> None:
        """Remove all faults, let paused nodes go on, and return when the cluster is whole."""
        self.ask(FaultCommand("heal"))
        self.wait_until_whole()

    def wait_until_whole(self) -> None:
        """Return when every running node reaches every other. Raises ClusterError when it was not in time."""
        wait_until_whole(self._cluster)

    def never_struck(self, known: Sequence[Scope]) -> list[str]:
        """Why faults that are set without a block prove nothing, a sentence each; but for those `known` before."""
        loose = [scope for scope in self.active if scope.is_loose and scope not in known]
        # Those that were removed by a reset or a heal are not there any more.
        there = {report.fault.id for report in self.all()} if loose else set()
        return [why for fault in loose if isinstance(fault, Fault) and fault.id in there and (why := fault.idle())]

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

    def ask(self, command: FaultCommand) -> list[FaultReport]:
        """Have the supervisor do something about faults; the methods above are the usual way."""
        return self._cluster.ask_faults(command)
