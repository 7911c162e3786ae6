"""Which messages a member's fault rules spoil: counts, chance and hits. Pure; the time is given to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.faults.chance import delay_s, draw
from taskfan.node.faults.rule import (
    FINAL_KINDS,
    FaultRule,
    Kind,
    On,
    applies_to,
    bandwidth_of,
    delay_of,
    seconds_of,
)
from taskfan.node.faults.selectors import matches_text

# Hits that are kept for each rule, the first ones: the number of all is counted besides.
MOST_HITS = 1000


class NumberedRule(msgspec.Struct, frozen=True):
    """A rule with its place: the fault that it belongs to, and its number in that."""

    fault: str
    number: int
    rule: FaultRule


class Hit(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """One message, or one link, that was spoiled. Nodes by name; `at_ms` is the wall time of the member that asked."""

    fault: str
    rule: int
    kind: Kind
    # None: the link itself, with `action` empty.
    on: On | None
    from_: str
    to: str
    at_ms: int
    action: str = ""
    parent_task_id: str = ""
    opaque_id: str = ""


class Subject(msgspec.Struct, frozen=True):
    """What only the payload of a request tells: the tasks it is about, and the description of the one it starts."""

    task_ids: tuple[str, ...] = ()
    description: str = ""


class Call(msgspec.Struct, frozen=True):
    """What rules may look at of a request. `subject` is asked only when a rule needs it."""

    sender: DiscoveryNode
    to: DiscoveryNode
    action: str
    parent_task_id: str = ""
    opaque_id: str = ""
    subject: Callable[[], Subject] = Subject


class RuleState(msgspec.Struct, eq=False):
    """One rule and what it has seen so far, in this member."""

    numbered: NumberedRule
    set_at_s: float
    # Matching messages by node they went to, and such messages by node and action.
    seen: dict[str, int] = {}
    such: dict[tuple[str, str], int] = {}
    # Decisions that count against the budget; and what was spoiled.
    spent: int = 0
    hit_count: int = 0
    hits: deque[Hit] = msgspec.field(default_factory=deque)

    @property
    def rule(self) -> FaultRule:
        """The rule itself."""
        return self.numbered.rule

    def matches(self, call: Call) -> bool:
        """Whether the message is one of those that the rule is about."""
        rule = self.rule
        if not applies_to(rule, call.sender, call.to) or not matches_text(rule.action, call.action):
            return False
        if rule.parent_task_id is not None and not matches_text(rule.parent_task_id, call.parent_task_id):
            return False
        if rule.opaque_id is not None and not matches_text(rule.opaque_id, call.opaque_id):
            return False
        if rule.task_id is None and rule.description is None:
            return True
        subject, wanted = call.subject(), rule.task_id
        if wanted is not None and not any(matches_text(wanted, task_id) for task_id in subject.task_ids):
            return False
        return rule.description is None or matches_text(rule.description, subject.description)

    def is_on(self, now_s: float) -> bool:
        """Whether its time has come and is not over."""
        begin_s, end_s = self.period_s
        return begin_s <= now_s < end_s

    @property
    def period_s(self) -> tuple[float, float]:
        """From when to when, by the clock of the member."""
        if self.rule.between is None:
            return float("-inf"), float("inf")
        begin_s, end_s = (self.set_at_s + seconds_of(text, "between") for text in self.rule.between)
        return begin_s, end_s

    def strikes(self, call: Call) -> tuple[bool, float]:
        """Count a matching message, and say whether it is spoiled, and how long the delay is."""
        rule = self.rule
        seen = self.seen[call.to.id] = self.seen.get(call.to.id, 0) + 1
        such = self.such.get((call.to.id, call.action), 0)
        self.such[call.to.id, call.action] = such + 1
        nth, rest = divmod(seen - rule.after, rule.every)
        if seen <= rule.after or rest or (rule.first is not None and nth > rule.first):
            return False, 0.0

        def chance(purpose: str) -> float:
            return draw(rule.seed, purpose, call.sender.name, call.to.name, call.action, such)

        if chance("strike") >= rule.probability or (rule.budget is not None and self.spent >= rule.budget):
            return False, 0.0
        self.spent += 1
        if rule.kind != "delay":
            return True, 0.0
        mean_s, jitter_s = delay_of(rule)
        return True, delay_s(rule.distribution, mean_s, jitter_s, chance("delay"), chance("delay, too"))

    def note(self, hit: Hit) -> None:
        """Keep what was spoiled."""
        self.hit_count += 1
        if len(self.hits) < MOST_HITS:
            self.hits.append(hit)


class Step(msgspec.Struct, frozen=True):
    """One rule that spoils this message; `delay_s` is the time of a delay."""

    state: RuleState
    delay_s: float = 0.0

    @property
    def rule(self) -> FaultRule:
        """The rule itself."""
        return self.state.rule


class Decision(msgspec.Struct, frozen=True):
    """What happens to one request and to its reply, each in this order; and the slowest way for its bytes."""

    call: Call
    request: tuple[Step, ...] = ()
    reply: tuple[Step, ...] = ()
    links: tuple[RuleState, ...] = ()

    @property
    def is_nothing(self) -> bool:
        """Whether no rule spoils anything."""
        return not (self.request or self.reply or self.links)

    @property
    def bytes_per_s(self) -> float:
        """The narrowest of its slow links; 0 where none is slow."""
        return min((bandwidth_of(s.rule) for s in self.links if s.rule.kind == "slow"), default=0.0)


class FaultBook:
    """The rules that a member obeys, and what they did. Each decision depends on the calls alone, and on no time."""

    def __init__(self) -> None:
        self._states: list[RuleState] = []

    def set_rules(self, rules: Iterable[NumberedRule], now_s: float) -> None:
        """Obey these from now on. A rule that was known goes on counting; one that was changed begins anew."""
        known = {(state.numbered.fault, state.numbered.number): state for state in self._states}
        states = []
        for numbered in rules:
            state = known.get((numbered.fault, numbered.number))
            states.append(state if state is not None and state.rule == numbered.rule else RuleState(numbered, now_s))
        self._states = states

    @property
    def is_empty(self) -> bool:
        """Whether there is no rule."""
        return not self._states

    @property
    def states(self) -> tuple[RuleState, ...]:
        """The rules in the order in which they were given."""
        return tuple(self._states)

    def decide(self, call: Call, now_s: float) -> Decision:
        """What happens to this request and its reply: decided once, in the order in which requests are sent."""
        if call.sender.id == call.to.id:
            return Decision(call)
        links = tuple(self.on_link(call.sender, call.to, now_s))
        request = self._steps(call, "request", now_s)
        if request and request[-1].rule.kind in FINAL_KINDS:
            # There will be no reply to spoil or to count.
            return Decision(call, request, (), links)
        return Decision(call, request, self._steps(call, "reply", now_s), links)

    def on_link(self, sender: DiscoveryNode, to: DiscoveryNode, now_s: float) -> list[RuleState]:
        """The rules that spoil the link between these two now."""
        return [s for s in self._states if s.rule.is_of_link and s.is_on(now_s) and applies_to(s.rule, sender, to)]

    def _steps(self, call: Call, on: On, now_s: float) -> tuple[Step, ...]:
        steps = []
        for state in self._states:
            rule = state.rule
            if rule.is_of_link or rule.direction != on or not state.is_on(now_s) or not state.matches(call):
                continue
            strikes, delay = state.strikes(call)
            if strikes:
                steps.append(Step(state, delay))
                if rule.kind in FINAL_KINDS:
                    break
        return tuple(steps)

    def next_change_s(self, now_s: float) -> float | None:
        """When the time of a rule on links begins or ends next, by the clock of the member."""
        times = [time for s in self._states if s.rule.is_of_link for time in s.period_s]
        return min((time for time in times if now_s < time < float("inf")), default=None)
