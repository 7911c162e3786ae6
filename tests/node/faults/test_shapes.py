"""Proves which links each shape of a broken network spoils."""

from __future__ import annotations

from typing import Any

import pytest

from taskfan.node.faults.rule import InvalidFault, applies_to
from taskfan.node.faults.shapes import shape_rules
from tests.node.faults.builders import NODES


def spoiled(shape: str, **arguments: Any) -> list[str]:
    """The links that are spoiled, as `from to` by their numbers."""
    rules = shape_rules(NODES, shape, {name.rstrip("_"): value for name, value in arguments.items()}, {"kind": "cut"})
    pairs = [(a, b) for a in NODES for b in NODES if any(applies_to(rule, a, b) for rule in rules)]
    return [f"{a.name[-1]}{b.name[-1]}" for a, b in pairs]


@pytest.mark.parametrize(
    ("shape", "arguments", "links"),
    [
        ("isolate", {"nodes": "node2"}, "12 21 23 24 32 42"),
        ("isolate", {"nodes": "node1,node2"}, "13 14 23 24 31 32 41 42"),
        ("halves", {}, "13 14 23 24 31 32 41 42"),
        ("halves", {"nodes": ["node1", "node3"]}, "12 14 21 23 32 34 41 43"),
        ("bridge", {"nodes": "node4"}, "12 13 21 31"),
        ("ring", {}, "13 24 31 42"),
        ("one_way", {"from_": "node1"}, "12 13 14"),
        ("one_way", {"from_": "node1", "to": "node3"}, "13"),
        ("by_attribute", {"attribute": "zone"}, "13 14 23 24 31 32 41 42"),
    ],
)
def test_the_links_of_a_shape(shape: str, arguments: dict[str, Any], links: str) -> None:
    assert " ".join(spoiled(shape, **arguments)) == links


@pytest.mark.parametrize(
    ("shape", "arguments", "field"),
    [
        ("star", {}, "shape"),
        ("isolate", {}, "nodes"),
        ("isolate", {"nodes": "node9"}, "nodes"),
        ("isolate", {"nodes": "*"}, "shape"),
        ("ring", {"nodes": "node1"}, "nodes"),
        ("one_way", {"from_": "node1", "to": "node9"}, "to"),
        ("by_attribute", {"attribute": "rack"}, "attribute"),
    ],
)
def test_a_shape_that_cannot_be_is_refused_with_its_field(shape: str, arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidFault) as raised:
        spoiled(shape, **arguments)
    assert raised.value.field == field
