"""How names of indices are read, as it travels with a request. Pure."""

from __future__ import annotations

from typing import Any

from taskfan.node.index.index_names import IndicesOptions
from taskfan.v1 import indices_pb2 as pb


def options_to_wire(options: IndicesOptions) -> pb.IndicesOptions:
    """The message that carries the options."""
    return pb.IndicesOptions(
        ignore_unavailable=options.ignore_unavailable,
        allow_no_indices=options.allow_no_indices,
        expand_open=options.expand_open,
        expand_hidden=options.expand_hidden,
    )


def options_from_wire(request: Any) -> IndicesOptions:
    """The options of a request that has them; those of a search when it says nothing."""
    if not request.HasField("options"):
        return IndicesOptions()
    given = request.options
    return IndicesOptions(given.ignore_unavailable, given.allow_no_indices, given.expand_open, given.expand_hidden)
