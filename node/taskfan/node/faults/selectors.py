"""Which nodes, actions and texts a fault rule means. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from taskfan.node.action_filter import action_pattern
from taskfan.node.cluster_state import DiscoveryNode

# One pattern, several with commas, or a list of them.
Patterns = str | list[str]


def patterns_of(patterns: Patterns) -> list[str]:
    """The patterns one by one."""
    return [item.strip() for item in patterns.split(",")] if isinstance(patterns, str) else list(patterns)


def matches_text(patterns: Patterns, text: str) -> bool:
    """Whether a pattern matches, and none with `-` before it does. With only such, all else matches."""
    return _select(patterns, (text,))


def selects_node(patterns: Patterns, node: DiscoveryNode) -> bool:
    """The same for a node, by name, id, or `attribute:value`."""
    attributes = tuple(f"{name}:{value}" for name, value in node.attributes.items())
    return _select(patterns, (node.name, node.id, *attributes))


def _select(patterns: Patterns, texts: Sequence[str]) -> bool:
    items = patterns_of(patterns)
    wanted = tuple(item for item in items if not item.startswith("-"))
    unwanted = tuple(item[1:] for item in items if item.startswith("-"))
    if unwanted and _any_matches(unwanted, texts):
        return False
    return not wanted or _any_matches(wanted, texts)


def _any_matches(patterns: tuple[str, ...], texts: Iterable[str]) -> bool:
    matches = action_pattern(patterns)
    return any(matches(text) for text in texts)


def matching_nodes(patterns: Patterns, nodes: Sequence[DiscoveryNode]) -> list[DiscoveryNode]:
    """The nodes that the patterns mean, in their order."""
    return [node for node in nodes if selects_node(patterns, node)]


def named_node(patterns: Patterns, nodes: Sequence[DiscoveryNode]) -> DiscoveryNode | None:
    """The one node that is named in full, by name or id; None when it is another kind of pattern."""
    items = patterns_of(patterns)
    if len(items) != 1:
        return None
    return next((node for node in nodes if items[0] in (node.name, node.id)), None)
