"""What faults may be told in Python, for editors and type checkers; read by `taskfan.node.faults.rule`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

from taskfan.node.faults.rule import Distribution, How, Kind, On

# By name, id, pattern, attribute (`zone:a`), or as `ClusterNode`; one or several.
Nodes = Any
Patterns = str | Sequence[str]


class Options(TypedDict, total=False):
    """What every fault may be told: a name for lists and journals, and that it need not strike."""

    name: str
    may_not_fire: bool


class RuleFields(Options, total=False):
    """The fields of `taskfan.node.faults.rule.FaultRule`, where they are described."""

    on: On
    from_: Nodes
    to: Nodes
    task_id: str
    parent_task_id: str
    opaque_id: str
    description: str
    after: int
    every: int
    first: int
    probability: float
    budget: int
    between: tuple[str, str]
    error: dict[str, Any]
    at_once: bool
    how: How
    jitter: str
    distribution: Distribution
    bandwidth: str
    seed: int


class AnyRule(RuleFields, total=False):
    """With those that methods take by position."""

    action: Patterns
    delay: str


class ShapeOptions(Options, total=False):
    """What happens to the links of a shape: `cut` unless said, `blackhole`, or `slow` with its `bandwidth`."""

    kind: Kind
    bandwidth: str
