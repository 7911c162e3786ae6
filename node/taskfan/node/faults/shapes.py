"""Shapes of broken networks, as rules on links. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.faults.rule import FaultRule, InvalidFault, read_rule
from taskfan.node.faults.selectors import Patterns, matching_nodes, patterns_of

SHAPES = ("isolate", "halves", "bridge", "ring", "one_way", "by_attribute")
Nodes = Sequence[DiscoveryNode]
# Whether the link from the first to the second is spoiled.
Spoils = Callable[[DiscoveryNode, DiscoveryNode], bool]


def isolate(nodes: Nodes, members: Patterns) -> Spoils:
    """These nodes reach one another, but nobody else, and nobody else reaches them."""
    inside = _ids(nodes, members, "nodes")
    return lambda a, b: (a.id in inside) != (b.id in inside)


def halves(nodes: Nodes, first: Patterns | None = None) -> Spoils:
    """Two parts that do not reach each other: these nodes and the others, or the first half and the second."""
    if first is not None:
        return isolate(nodes, first)
    inside = [node.id for node in nodes[: len(nodes) // 2]]
    return lambda a, b: (a.id in inside) != (b.id in inside)


def bridge(nodes: Nodes, over: Patterns) -> Spoils:
    """Two halves that do not reach each other, and nodes between that reach both."""
    both = _ids(nodes, over, "nodes")
    rest = [node for node in nodes if node.id not in both]
    apart = halves(rest)
    return lambda a, b: a.id not in both and b.id not in both and apart(a, b)


def ring(nodes: Nodes) -> Spoils:
    """Each node reaches the one before it and the one after it, and no others."""
    place = {node.id: at for at, node in enumerate(nodes)}
    return lambda a, b: (place[a.id] - place[b.id]) % len(nodes) not in (1, len(nodes) - 1)


def one_way(nodes: Nodes, from_: Patterns, to: Patterns = "*") -> Spoils:
    """These nodes do not reach those; the other way all is well."""
    asking, asked = _ids(nodes, from_, "from"), _ids(nodes, to, "to")
    return lambda a, b: a.id in asking and b.id in asked


def by_attribute(nodes: Nodes, name: str) -> Spoils:
    """Nodes of different values of this attribute do not reach each other."""
    values = {node.id: node.attributes.get(name) for node in nodes}
    if len(set(values.values())) < 2:
        raise InvalidFault("attribute", f"[{name}] has the same value on all nodes, or is on none")
    return lambda a, b: values[a.id] != values[b.id]


def shape_rules(nodes: Nodes, shape: str, arguments: dict[str, Any], link: dict[str, Any]) -> list[FaultRule]:
    """The rules of a shape by its name.

    Args:
        arguments: `nodes` (isolate, halves, bridge), `from` and `to` (one_way), `attribute` (by_attribute).
        link: what happens to a link: `{"kind": "cut"}`, or another kind with what it needs.

    Raises:
        InvalidFault: names the field.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    if shape not in SHAPES:
        raise InvalidFault("shape", f"[{shape}] is none of {', '.join(SHAPES)}")
    needed, allowed = _ARGUMENTS[shape]
    for name in needed:
        if name not in given:
            raise InvalidFault(name, f"is missing: the shape [{shape}] needs it")
    for name in given:
        if name not in (*needed, *allowed):
            raise InvalidFault(name, f"has no meaning for the shape [{shape}]")
    return link_rules(nodes, _spoils(nodes, shape, given), link)


_ARGUMENTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "isolate": (("nodes",), ()),
    "halves": ((), ("nodes",)),
    "bridge": (("nodes",), ()),
    "ring": ((), ()),
    "one_way": (("from",), ("to",)),
    "by_attribute": (("attribute",), ()),
}


def _spoils(nodes: Nodes, shape: str, given: dict[str, Any]) -> Spoils:
    match shape:
        case "isolate":
            return isolate(nodes, given["nodes"])
        case "halves":
            return halves(nodes, given.get("nodes"))
        case "bridge":
            return bridge(nodes, given["nodes"])
        case "ring":
            return ring(nodes)
        case "one_way":
            return one_way(nodes, given["from"], given.get("to", "*"))
        case _:
            return by_attribute(nodes, given["attribute"])


def link_rules(nodes: Nodes, spoils: Spoils, link: dict[str, Any]) -> list[FaultRule]:
    """One rule for each node that is kept from some. Raises InvalidFault when that is none."""
    rules = []
    for a in nodes:
        others = [b.name for b in nodes if a.id != b.id and spoils(a, b)]
        if others:
            rules.append(read_rule({**link, "from": [a.name], "to": others}))
    if not rules:
        raise InvalidFault("shape", "keeps no node from any other: there are too few")
    return rules


def _ids(nodes: Nodes, patterns: Patterns, field: str) -> list[str]:
    found = [node.id for node in matching_nodes(patterns, nodes)]
    if not found:
        names = ", ".join(node.name for node in nodes[:10])
        raise InvalidFault(field, f"[{','.join(patterns_of(patterns))}] matches no node: there are {names}")
    return found
