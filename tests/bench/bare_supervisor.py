"""A supervisor whose members have no fault layer and no journal at all: `python -m tests.bench.bare_supervisor`.

It takes the place of `taskfan.cluster.supervisor`, to be measured in turn with it. Where the product asks whether the
journal is on, this one does not even ask: those lines are taken out when their modules are imported.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Nothing of the product is imported before the finder is in its place.
    from taskfan.node.cluster_state import DiscoveryNode
    from taskfan.node.link_transport import LinkTransport

# On the way of a request from one node to another.
MODULES = ("taskfan.node.link", "taskfan.node.node")


class _WithoutJournal(ast.NodeTransformer):
    def visit_If(self, node: ast.If) -> ast.AST:
        """Nothing in the place of what is done when the journal is on."""
        if isinstance(node.test, ast.Attribute) and node.test.attr == "is_on" and not node.orelse:
            return ast.copy_location(ast.Pass(), node)
        return self.generic_visit(node)


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        """Of the source that is left, never of a compiled file."""
        path = self.get_filename(fullname)
        return compile(_WithoutJournal().visit(ast.parse(self.get_data(path))), path, "exec")


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where a module of those is, and how it is loaded."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname in MODULES else None
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(fullname, spec.origin)
        return spec


class BareTransport:
    """In the place of a `FaultyTransport`: nothing lies between the node and its links, and no rule is obeyed."""

    def __init__(self, inner: LinkTransport, actions: Mapping[str, Any] | None = None) -> None:
        self.ask, self.send, self.start, self.close = inner.ask, inner.send, inner.start, inner.close
        self.disconnect, self.on_link_closed = inner.disconnect, inner.on_link_closed

    def states(self) -> tuple[()]:
        """No rule, so none has done anything."""
        return ()

    def introduce(self, local: DiscoveryNode) -> None:
        """No rule asks who it is."""

    def set_rules(self, rules: Sequence[object]) -> None:
        """Obey none."""


def main() -> int:
    """Leave it all out, then be the supervisor."""
    from taskfan.node.faults import faulty_transport

    setattr(faulty_transport, "FaultyTransport", BareTransport)  # noqa: B010
    from taskfan.cluster import supervisor

    return supervisor.main()


if __name__ == "__main__":
    sys.meta_path.insert(0, _Finder())
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # As the supervisor itself ends.
    os._exit(status)
