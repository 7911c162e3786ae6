"""The faults of one cluster, as its supervisor has them: checked, numbered, sent to all members, and their hits."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from taskfan.cluster.channel import encode
from taskfan.cluster.errors import ClusterError
from taskfan.cluster.fault_messages import AskHits, SetFaults
from taskfan.cluster.member_process import MemberProcess
from taskfan.cluster.messages import FaultInfo, FaultReport
from taskfan.cluster.running_cluster import RunningCluster, all_of
from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.faults.decide import Hit, NumberedRule
from taskfan.node.faults.rule import FaultRule, InvalidFault, changed, check_rule, read_rule
from taskfan.node.faults.shapes import shape_rules

# A member that runs answers in milliseconds.
MEMBER_TIMEOUT_S = 10.0
MOST_FAULTS, MOST_RULES = 200, 2000


class Fault(msgspec.Struct):
    """Rules that come and go together."""

    id: str
    name: str
    rules: list[FaultRule]
    set_at_ms: int
    # Members know it by this: a changed fault is another one, and counts anew.
    place: str


class FaultControl:
    """Adds, changes and removes faults. Each change returns when all members that run obey it."""

    def __init__(self, cluster: RunningCluster) -> None:
        self._cluster = cluster
        self._faults: dict[str, Fault] = {}
        self._numbers, self._editions, self._questions = itertools.count(1), itertools.count(1), itertools.count(1)
        self._version = 0
        self._changes = asyncio.Lock()

    # ------------------------------------------------------------------ what is set

    @property
    def ids(self) -> list[str]:
        """Of all faults that are set."""
        return list(self._faults)

    def find(self, fault_id: str) -> Fault:
        """The fault of that id. Raises UnknownFault."""
        fault = self._faults.get(fault_id)
        if fault is None:
            known = f"there are {', '.join(list(self._faults)[:20])}" if self._faults else "there are none"
            raise UnknownFault(f"No fault has the id [{fault_id}]: {known}.")
        return fault

    async def add(self, rules: Sequence[Any], name: str = "") -> Fault:
        """Set rules that belong together. Raises InvalidFault, and nothing is set."""
        read = [self._checked(values, f"rules[{at}]." if len(rules) > 1 else "") for at, values in enumerate(rules)]
        if not read:
            raise InvalidFault("rules", "is empty: a fault has one rule at least")
        count = sum(len(fault.rules) for fault in self._faults.values())
        if len(self._faults) >= MOST_FAULTS or count + len(read) > MOST_RULES:
            raise InvalidFault("rules", f"are too many: at most {MOST_FAULTS} faults of {MOST_RULES} rules together")
        fault = self._made(f"fault-{next(self._numbers)}", name, read)
        async with self._undone_on_error():
            self._faults[fault.id] = fault
            await self._spread()
        return fault

    async def add_shape(self, shape: str, arguments: dict[str, Any], link: dict[str, Any], name: str = "") -> Fault:
        """Set the rules of a shape: see `shape_rules`. Raises InvalidFault."""
        rules = shape_rules(self._nodes(), shape, arguments, link)
        return await self.add([msgspec.to_builtins(rule) for rule in rules], name or shape)

    async def change(self, fault_id: str, values: dict[str, Any]) -> Fault:
        """Give these fields of all its rules other values; they begin to count anew. Raises InvalidFault."""
        fault = self.find(fault_id)
        rules = [changed(rule, values) for rule in fault.rules]
        for rule in rules:
            check_rule(rule, self._nodes())
        async with self._undone_on_error():
            self._faults[fault_id] = changed_fault = self._made(fault_id, fault.name, rules)
            await self._spread()
        return changed_fault

    async def remove(self, fault_id: str) -> FaultReport:
        """Remove a fault. Gives what it did to the last."""
        self.find(fault_id)
        report = await self.hits(fault_id)
        async with self._changes:
            self._faults.pop(fault_id, None)
            await self._spread()
        return report

    async def reset(self) -> None:
        """Remove all faults."""
        async with self._changes:
            self._faults.clear()
            await self._spread()

    async def heal(self) -> None:
        """Remove all faults, and let paused nodes go on."""
        await self.reset()
        for member in self._cluster.members:
            if member.state == "paused":
                await self._cluster.resume_node(member)

    # ------------------------------------------------------------------ what they did

    async def hits(self, fault_id: str) -> FaultReport:
        """What a fault has done so far."""
        await self._ask([fault_id])
        return self._report(fault_id, with_hits=True)

    async def all(self) -> list[FaultReport]:
        """All faults with the number of their hits, but not these themselves."""
        await self._ask(list(self._faults))
        return [self._report(fault_id, with_hits=False) for fault_id in self._faults]

    async def collect(self, member: MemberProcess) -> None:
        """Before a member's process ends: keep what it counted."""
        await self._ask(list(self._faults), [member])

    def _report(self, fault_id: str, *, with_hits: bool) -> FaultReport:
        fault = self.find(fault_id)
        told = [
            answer for member in self._cluster.members for (of, _), answer in member.hits.items() if of == fault.place
        ]
        hits = sorted((hit for answer in told for hit in answer.hits), key=lambda hit: hit.at_ms) if with_hits else []
        info = FaultInfo(fault.id, fault.name, [msgspec.to_builtins(rule) for rule in fault.rules], fault.set_at_ms)
        return FaultReport(info, sum(answer.count for answer in told), [_shown(hit, fault) for hit in hits])

    # ------------------------------------------------------------------ members

    def _made(self, fault_id: str, name: str, rules: list[FaultRule]) -> Fault:
        return Fault(fault_id, name, rules, time.time_ns() // 1_000_000, f"{fault_id}/{next(self._editions)}")

    def _nodes(self) -> list[DiscoveryNode]:
        return [member.discovery_node() for member in self._cluster.members]

    def _checked(self, values: Any, path: str) -> FaultRule:
        """The rule of a map. Raises InvalidFault; `path` names the rule where there are several."""
        try:
            rule = read_rule(values)
            check_rule(rule, self._nodes())
        except InvalidFault as error:
            raise InvalidFault(f"{path}{error.field}", error.problem) from None
        return rule

    @contextlib.asynccontextmanager
    async def _undone_on_error(self) -> AsyncIterator[None]:
        async with self._changes:
            before = dict(self._faults)
            try:
                yield
            except BaseException:
                self._faults = before
                raise

    async def _spread(self) -> None:
        """Send all rules to all members; wait for those that run."""
        self._version += 1
        version = self._version
        rules = [
            NumberedRule(fault.place, number, rule)
            for fault in self._faults.values()
            for number, rule in enumerate(fault.rules)
        ]
        line = encode(SetFaults(version, rules))
        # For those that start later.
        self._cluster.faults_line = line if rules else b""
        places = [fault.place for fault in self._faults.values()]
        for member in self._cluster.members:
            member.hits = {of: told for of, told in member.hits.items() if of[0] in places}
            member.send_line(line)
        await self._until(self._cluster.members, lambda member: member.faults_version >= version)

    async def _ask(self, fault_ids: Sequence[str], members: Sequence[MemberProcess] | None = None) -> None:
        """Have members that run say what they counted. One that is paused keeps it until it goes on."""
        asked = [member for member in members or self._cluster.members if member.state == "running"]
        for fault_id in fault_ids:
            fault = self._faults.get(fault_id)
            if fault is None:
                continue
            number, place = next(self._questions), fault.place
            for member in asked:
                member.send_line(encode(AskHits(number, place)))
            await self._until(asked, partial(_has_told, place=place, number=number))

    async def _until(self, members: Sequence[MemberProcess], condition: Callable[[MemberProcess], bool]) -> None:
        try:
            async with asyncio.timeout(MEMBER_TIMEOUT_S):
                await all_of(
                    member.until(lambda member: condition(member) or member.state != "running") for member in members
                )
        except TimeoutError:
            late = [member.config.name for member in members if not condition(member) and member.state == "running"]
            raise ClusterError(f"No word on faults from {', '.join(late)} within {MEMBER_TIMEOUT_S:g} s.") from None


class UnknownFault(ClusterError):
    """No fault has this id."""


def _has_told(member: MemberProcess, *, place: str, number: int) -> bool:
    answer = member.hits.get((place, member.number))
    return answer is not None and answer.number >= number


def _shown(hit: Hit, fault: Fault) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(hit)
    return {**shown, "fault": fault.id}
