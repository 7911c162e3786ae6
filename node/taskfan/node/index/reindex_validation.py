"""What is checked of a reindex once it has begun, when the indices are known. Pure.

Source: OpenSearch `ReindexValidator`, `BulkByScrollParallelizationHelper.sendSubRequests`.
"""

from __future__ import annotations

from taskfan.node.errors import IllegalArgument, ValidationFailed
from taskfan.node.index.by_scroll_request import ByScrollRequest, Kind
from taskfan.node.index.errors import NotAnAlias
from taskfan.node.index.index_names import resolve
from taskfan.node.index.metadata import Indices
from taskfan.node.index.search_phases import check_slices


def initial_validation(request: ByScrollRequest, indices: Indices) -> None:
    """Check a reindex against the indices that there are; the other two kinds are not checked.

    Raises:
        IllegalArgument: it reads from another cluster.
        IndexNotFound: it reads from an index that is not there.
        NotAnAlias: it may only write to an alias.
        ValidationFailed: it reads from the index it writes into.
    """
    if request.kind is not Kind.REINDEX:
        return
    if request.remote is not None:
        raise IllegalArgument(f"[{request.remote}] not allowlisted in reindex.remote.allowlist")
    name = request.destination.index or ""
    destination = indices.get(name)
    if request.destination.require_alias and (destination is None or destination.name == name):
        raise NotAnAlias(name)
    target = name if destination is None else destination.name
    if any(index.name == target for index in resolve(indices, request.indices, request.options)):
        raise ValidationFailed(f"reindex cannot write into an index its reading from [{target}]")


def check_number_of_slices(request: ByScrollRequest, indices: Indices, slices: int) -> None:
    """Refuse more slices than an index that is named as it is allows; those behind wildcards are not looked at.

    Raises:
        IllegalArgument: `The number of slices [x] is too large. …`
    """
    for name in request.indices:
        index = indices.metadata.get(name)
        if index is not None:
            check_slices(slices, index.settings)
