"""A fault rule: what people write, and whether it can be meant. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import msgspec

from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.errors import IllegalArgument, TaskfanError
from taskfan.node.faults.selectors import Patterns, matching_nodes, named_node, patterns_of, selects_node
from taskfan.node.ids import is_task_id
from taskfan.node.time_value import parse_time_ns

Kind = Literal["drop", "fail", "delay", "refuse", "disconnect", "duplicate", "reorder", "cut", "blackhole", "slow"]
On = Literal["request", "reply"]
Distribution = Literal["uniform", "normal", "exponential"]
How = Literal["rejected", "not_connected"]
_CHOICES: Mapping[str, Any] = {"kind": Kind, "on": On, "distribution": Distribution, "how": How}

# These spoil a whole link and both its directions, for as long as the rule stands; the others spoil single messages.
LINK_KINDS = ("cut", "blackhole", "slow")
ONLY_ON: Mapping[str, On] = {"refuse": "request", "duplicate": "reply"}
# After one of these nothing is left of the message for another rule to spoil.
FINAL_KINDS = ("drop", "fail", "refuse", "disconnect")
# Which fields only some kinds have a use for.
_FIELDS_OF_KINDS: Mapping[str, tuple[str, ...]] = {
    "error": ("fail",),
    "at_once": ("fail",),
    "how": ("refuse",),
    "delay": ("delay",),
    "jitter": ("delay",),
    "distribution": ("delay",),
    "bandwidth": ("slow",),
}
# A link has neither direction nor messages to count.
_NOT_OF_LINKS = (
    *("on", "action", "task_id", "parent_task_id", "opaque_id", "description"),
    *("first", "every", "after", "probability", "budget"),
)
MOST_SECONDS = 86_400.0
A_TASK_ID = "oTUltX4IQMOUUVeiohTt8A:464"
# A message that is to be overtaken goes alone when no other comes in this time.
REORDER_LIMIT_S = 0.5
# What a field wants, where its type alone does not say it to people.
_WANTED = {
    **{name: f"is one of {', '.join(get_args(choice))}" for name, choice in _CHOICES.items()},
    "error": "is a map such as {type: io_exception, reason: broken, status: 500}",
    "between": "is two time values such as [1s, 5s]",
}
_BYTES = {"kb": 1 << 10, "mb": 1 << 20, "b": 1}


class InvalidFault(IllegalArgument):
    """A rule that cannot be meant; `field` names what is wrong with it."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"[{field}] {problem}")
        self.field, self.problem = field, problem


class FaultError(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """The error that a caller sees instead of the answer."""

    type: str = "transport_exception"
    reason: str = "simulated failure"
    status: int = 500

    def to_error(self) -> TaskfanError:
        """The error to raise."""
        error = TaskfanError(self.reason)
        error.kind, error.http_status = self.type, self.status
        return error


class FaultRule(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename={"from_": "from"},
):
    """One rule at the transport boundary of the member that asks. All conditions must hold.

    Which messages:

    Attributes:
        kind: of a message: `drop` (lost), `fail` (an error instead), `delay`, `refuse` (as a saturated pool or a
            closed port does), `disconnect` (its link closes), `duplicate` (the reply comes twice), `reorder` (it comes
            after the next one). Of a link: `cut` (closed, and none opens), `blackhole` (nothing passes, checks
            neither), `slow` (so many bytes a second).
        on: `request`: the other node never sees it; `reply`: it ran, and its answer is spoiled. `request` by default,
            but for `duplicate`.
        from_, to: nodes by name, id, wildcards or attribute (`zone:a`); `-` before one takes it out again. A link
            belongs to who opened it: `from` a `to` b are the requests of a to b, and b's answers.
        action: patterns of the action's name; `-` before one takes it out again.
        task_id: the task that the request is about: that is got, cancelled, listed, or whose children are banned.
        parent_task_id: the task on whose behalf it is sent.
        opaque_id: its `X-Opaque-Id`.
        description: of the task that it starts.

    When, counted for each ordered pair of nodes; of the messages that match:

        after: leave so many alone;
        every: then every so many-th;
        first: of these the first so many;
        probability: each of these with this chance;
        budget: at most so many in all. Over several pairs it needs one named `from`.
        between: only from this time to that, as time values since the rule was set.

    And how:

        error: what the caller sees, of `fail`.
        at_once: `fail` on `reply`: as soon as the request is sent, while it runs.
        how: `refuse` as `rejected` (rejected_execution_exception) or `not_connected` (node_not_connected_exception).
        delay, jitter, distribution: `uniform`: delay ± jitter; `normal`: with jitter as its standard deviation;
            `exponential`: with delay as its mean.
        bandwidth: bytes a second, such as `64kb`.
        seed: of probability and jitter.
    """

    kind: Kind
    on: On | None = None
    from_: Patterns = "*"
    to: Patterns = "*"
    action: Patterns = "*"
    task_id: str | None = None
    parent_task_id: str | None = None
    opaque_id: str | None = None
    description: str | None = None
    after: int = 0
    every: int = 1
    first: int | None = None
    probability: float = 1.0
    budget: int | None = None
    between: tuple[str, str] | None = None
    error: FaultError | None = None
    at_once: bool = False
    how: How = "rejected"
    delay: str | None = None
    jitter: str | None = None
    distribution: Distribution = "uniform"
    bandwidth: str | None = None
    seed: int = 0

    @property
    def direction(self) -> On:
        """On which message, where nobody said."""
        return self.on or ONLY_ON.get(self.kind, "request")

    @property
    def is_of_link(self) -> bool:
        """Whether it spoils whole links."""
        return self.kind in LINK_KINDS


def read_rule(values: object) -> FaultRule:
    """The rule of a map as JSON has it. Raises InvalidFault; see `check_rule` for what only a cluster can tell."""
    if not isinstance(values, Mapping):
        raise InvalidFault("rule", "is a map of fields, such as {kind: drop, to: opensearch-node2}")
    unknown = [name for name in values if name not in FIELDS]
    if unknown:
        near = difflib.get_close_matches(str(unknown[0]), FIELDS, 1)
        meant = f". Did you mean [{near[0]}]?" if near else ""
        raise InvalidFault(str(unknown[0]), f"is no field of a fault rule; known are {', '.join(FIELDS)}{meant}")
    if "kind" not in values:
        raise InvalidFault("kind", "is missing")
    try:
        rule = msgspec.convert(values, FaultRule)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `$.")
        field = place.rstrip("`") or "rule"
        wanted = f". It {_WANTED[field]}" if field in _WANTED else ""
        raise InvalidFault(field, problem[:1].lower() + problem[1:] + wanted) from None
    _check_alone(rule)
    return rule


FIELDS = tuple(field.encode_name for field in msgspec.structs.fields(FaultRule))


def changed(rule: FaultRule, values: Mapping[str, Any]) -> FaultRule:
    """The rule with other values in these fields; None is a field's default. Raises InvalidFault."""
    merged = {**msgspec.to_builtins(rule), **values}
    return read_rule({name: value for name, value in merged.items() if value is not None})


def check_rule(rule: FaultRule, nodes: Sequence[DiscoveryNode]) -> None:
    """Whether it can be meant in this cluster. Raises InvalidFault, which names the field."""
    _check_alone(rule)
    names = ", ".join(node.name for node in nodes[:10])
    for field, patterns in (("from", rule.from_), ("to", rule.to)):
        if not matching_nodes(patterns, nodes):
            shown = ",".join(patterns_of(patterns))
            raise InvalidFault(field, f"[{shown}] matches no node: there are {names}")
    pairs = [
        (sender.id, to.id)
        for sender in matching_nodes(rule.from_, nodes)
        for to in matching_nodes(rule.to, nodes)
        if sender.id != to.id
    ]
    if not pairs:
        raise InvalidFault("to", "is the same node as [from]: no fault touches what a node sends to itself")
    if rule.budget is not None and len(pairs) > 1 and named_node(rule.from_, nodes) is None:
        raise InvalidFault(
            "budget", "over several pairs of nodes needs one node named in [from], for the member that asks counts"
        )


def _check_alone(rule: FaultRule) -> None:
    """All that a rule says of itself. Raises InvalidFault."""
    _check_fields_of_kind(rule)
    for field in ("first", "every", "budget"):
        value = getattr(rule, field)
        if value is not None and value < 1:
            raise InvalidFault(field, f"is a number from 1 on, not [{value}]")
    if rule.after < 0:
        raise InvalidFault("after", f"is a number from 0 on, not [{rule.after}]")
    if not 0 < rule.probability <= 1:
        raise InvalidFault("probability", f"is more than 0 and at most 1, not [{rule.probability:g}]")
    for field in ("from", "to", "action"):
        patterns = patterns_of(getattr(rule, "from_" if field == "from" else field))
        if not patterns or not all(pattern.lstrip("-") for pattern in patterns):
            raise InvalidFault(field, "is a pattern or a list of patterns, none of them empty")
    for field in ("task_id", "parent_task_id"):
        for pattern in patterns_of(getattr(rule, field) or []):
            if "*" not in pattern and not is_task_id(pattern.removeprefix("-")):
                raise InvalidFault(field, f"is a task id such as {A_TASK_ID}, or a pattern with *; not [{pattern}]")
    if rule.error is not None and not 400 <= rule.error.status <= 599:
        raise InvalidFault("error.status", f"is a status from 400 to 599, not [{rule.error.status}]")
    if rule.between is not None:
        begin_s, end_s = (seconds_of(text, "between") for text in rule.between)
        if begin_s >= end_s:
            raise InvalidFault("between", f"ends before it begins: {list(rule.between)}")
    delay_of(rule)
    bandwidth_of(rule)


def _check_fields_of_kind(rule: FaultRule) -> None:
    said = msgspec.to_builtins(rule)
    for field in said:
        if field in _FIELDS_OF_KINDS and rule.kind not in _FIELDS_OF_KINDS[field]:
            raise InvalidFault(field, f"has no meaning for kind [{rule.kind}]")
        if rule.is_of_link and field in _NOT_OF_LINKS:
            raise InvalidFault(field, f"has no meaning for kind [{rule.kind}], which spoils whole links")
    for field in ("delay", "bandwidth"):
        if rule.kind in _FIELDS_OF_KINDS[field] and field not in said:
            raise InvalidFault(field, f"is missing: kind [{rule.kind}] needs it")
    only = ONLY_ON.get(rule.kind)
    if only is not None and rule.direction != only:
        raise InvalidFault("on", f"of kind [{rule.kind}] can only be [{only}]")
    if rule.at_once and rule.direction != "reply":
        raise InvalidFault("at_once", "is for [on] reply: a request that fails never ran, and fails at once anyhow")


def seconds_of(text: str, field: str) -> float:
    """The seconds of a time value. Raises InvalidFault."""
    try:
        seconds = parse_time_ns(text, field) / 1e9
    except IllegalArgument:
        seconds = -1.0
    if not 0 <= seconds <= MOST_SECONDS:
        raise InvalidFault(field, f"is a time value such as 200ms or 5s, at most a day; not [{text}]")
    return seconds


def delay_of(rule: FaultRule) -> tuple[float, float]:
    """Delay and jitter in seconds; 0 where there is none. Raises InvalidFault."""
    delay_s = 0.0 if rule.delay is None else seconds_of(rule.delay, "delay")
    jitter_s = 0.0 if rule.jitter is None else seconds_of(rule.jitter, "jitter")
    if rule.distribution == "exponential" and rule.jitter is not None:
        raise InvalidFault("jitter", "has no meaning for the distribution [exponential], whose mean is [delay]")
    if rule.distribution == "normal" and rule.jitter is None:
        raise InvalidFault("jitter", "is missing: it is the standard deviation of the distribution [normal]")
    return delay_s, jitter_s


def bandwidth_of(rule: FaultRule) -> float:
    """Bytes a second; 0 where there is no limit. Raises InvalidFault."""
    if rule.bandwidth is None:
        return 0.0
    text = rule.bandwidth.lower().removesuffix("/s")
    unit = next((unit for unit in _BYTES if text.endswith(unit)), "")
    digits = text.removesuffix(unit)
    if not unit or not digits.isdecimal() or int(digits) < 1:
        raise InvalidFault("bandwidth", f"is bytes a second such as 512b, 64kb or 1mb; not [{rule.bandwidth}]")
    return float(int(digits) * _BYTES[unit])


def applies_to(rule: FaultRule, sender: DiscoveryNode, to: DiscoveryNode) -> bool:
    """Whether it is about the link from this node to that one."""
    return sender.id != to.id and selects_node(rule.from_, sender) and selects_node(rule.to, to)
