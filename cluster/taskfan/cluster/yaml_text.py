"""YAML as people write it, read strictly: a key that stands twice is a mistake, not a choice."""

from __future__ import annotations

from typing import Any

import yaml
from yaml.nodes import MappingNode, ScalarNode

_MERGE = "tag:yaml.org,2002:merge"


class DuplicateKey(yaml.YAMLError):
    """A map has the same key twice; lines count from 1."""

    def __init__(self, key: str, line: int, first_line: int) -> None:
        super().__init__(f"line {line}: [{key}] stands there again, after line {first_line}: only one can be meant")


class _Loader(yaml.SafeLoader):
    """PyYAML takes the last of several equal keys without a word."""

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        # Here and not where maps are made: by then those that `<<` merges into it stand beside its own keys.
        node = super().compose_mapping_node(anchor)
        seen: dict[tuple[str, str], ScalarNode] = {}
        for key, _ in node.value:
            if not isinstance(key, ScalarNode) or key.tag == _MERGE:
                continue
            first = seen.setdefault((key.tag, key.value), key)
            if first is not key:
                raise DuplicateKey(key.value, key.start_mark.line + 1, first.start_mark.line + 1)
        return node


def read_yaml(text: str) -> Any:
    """The values of a YAML text. Raises yaml.YAMLError, of a key that stands twice DuplicateKey."""
    return yaml.load(text, _Loader)
