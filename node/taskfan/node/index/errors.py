"""The failures of indices, documents and searches, in OpenSearch's words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from taskfan.node.errors import Origin, ResourceNotFound, TaskfanError


class ShardId(msgspec.Struct, frozen=True):
    """One shard of one index. Source: OpenSearch `ShardId`."""

    index: str
    index_uuid: str
    number: int

    def __str__(self) -> str:
        return f"[{self.index}][{self.number}]"


class IndexAlreadyExists(TaskfanError):
    """An index of that name is there. Source: `ResourceAlreadyExistsException`."""

    kind = "resource_already_exists_exception"
    http_status = HTTPStatus.BAD_REQUEST

    def __init__(self, index: str, uuid: str) -> None:
        super().__init__(f"index [{index}/{uuid}] already exists", metadata={"index": index, "index_uuid": uuid})


class NotAnAlias(ResourceNotFound):
    """A write that may only go to an alias. Source: OpenSearch `TransportBulkAction`, `ReindexValidator`."""

    kind = "index_not_found_exception"

    def __init__(self, index: str) -> None:
        told = f"no such index [{index}] and [require_alias] request flag is [true] and [{index}] is not an alias"
        super().__init__(told, metadata={"index": index, "index_uuid": "_na_"})


class InvalidIndexName(TaskfanError):
    """A name that no index may have. Source: `InvalidIndexNameException`."""

    kind = "invalid_index_name_exception"
    http_status = HTTPStatus.BAD_REQUEST

    def __init__(self, index: str, fault: str) -> None:
        super().__init__(f"Invalid index name [{index}], {fault}", metadata={"index": index, "index_uuid": "_na_"})


class SettingsFailed(TaskfanError):
    """A setting that nothing knows. Source: `SettingsException`."""

    kind = "settings_exception"
    http_status = HTTPStatus.BAD_REQUEST


class MapperParsing(TaskfanError):
    """A mapping, or a document that does not suit it. Source: `MapperParsingException`."""

    kind = "mapper_parsing_exception"
    http_status = HTTPStatus.BAD_REQUEST


class StrictDynamicMapping(TaskfanError):
    """A new field where the mapping allows none. Source: `StrictDynamicMappingException`."""

    kind = "strict_dynamic_mapping_exception"
    http_status = HTTPStatus.BAD_REQUEST


class BodyUnreadable(TaskfanError):
    """A body that is missing or means nothing. Source: `OpenSearchParseException`."""

    kind = "parse_exception"
    http_status = HTTPStatus.BAD_REQUEST


class _Located(TaskfanError):
    """A fault at a place of a body; both count from 1, columns in bytes."""

    def __init__(self, reason: str, line: int, column: int, *, cause: TaskfanError | None = None) -> None:
        super().__init__(reason, cause=cause)
        self.line, self.column = line, column


class ParsingFailed(_Located):
    """A body that is JSON but not what was asked for. Source: `ParsingException`."""

    kind = "parsing_exception"
    http_status = HTTPStatus.BAD_REQUEST

    def to_object(self) -> dict[str, Any]:
        """As any error, with the place after the reason."""
        shown = super().to_object()
        cause = shown.pop("caused_by", None)
        shown |= {"line": self.line, "col": self.column}
        return shown if cause is None else shown | {"caused_by": cause}


class XContentParse(_Located):
    """A field that a body must not have, or whose value does not do. Source: `XContentParseException`."""

    kind = "x_content_parse_exception"
    http_status = HTTPStatus.BAD_REQUEST
    origin = Origin.FOREIGN

    def __init__(self, reason: str, line: int, column: int, *, cause: TaskfanError | None = None) -> None:
        super().__init__(f"[{line}:{column}] {reason}", line, column, cause=cause)


class NamedObjectNotFound(XContentParse):
    """The name of something that nothing here can parse. Source: `NamedObjectNotFoundException`."""

    kind = "named_object_not_found_exception"


class NotXContent(TaskfanError):
    """Bytes that do not even begin like JSON. Source: `NotXContentException`."""

    kind = "not_x_content_exception"
    http_status = HTTPStatus.BAD_REQUEST
    origin = Origin.FOREIGN

    def __init__(self) -> None:
        super().__init__("Compressor detection can only be called on some xcontent bytes or compressed xcontent bytes")


class JsonUnreadable(TaskfanError):
    """Text that is no JSON. `kind` is `json_parse_exception` or `unexpected_end_of_input_exception`."""

    kind = "json_parse_exception"
    http_status = HTTPStatus.BAD_REQUEST
    origin = Origin.FOREIGN


class IllegalState(TaskfanError):
    """Java's IllegalStateException."""

    kind = "illegal_state_exception"
    origin = Origin.KNOWN


class _OfShard(TaskfanError):
    """A failure that names the shard it happened in."""

    def __init__(self, shard: ShardId, reason: str) -> None:
        where = {"index": shard.index, "shard": str(shard.number), "index_uuid": shard.index_uuid}
        super().__init__(reason, metadata=where)


class VersionConflict(_OfShard):
    """A write that expected another state of the document. Source: `VersionConflictEngineException`."""

    kind = "version_conflict_engine_exception"
    http_status = HTTPStatus.CONFLICT

    def __init__(self, shard: ShardId, document_id: str, explanation: str) -> None:
        super().__init__(shard, f"[{document_id}]: version conflict, {explanation}")


class DocumentMissing(_OfShard):
    """An update of a document that is not there. Source: `DocumentMissingException`."""

    kind = "document_missing_exception"
    http_status = HTTPStatus.NOT_FOUND

    def __init__(self, shard: ShardId, document_id: str) -> None:
        super().__init__(shard, f"[{document_id}]: document missing")


class ClusterBlocked(TaskfanError):
    """The store is full. Source: `ClusterBlockException`, as at the flood-stage watermark."""

    kind = "cluster_block_exception"
    http_status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, index: str) -> None:
        super().__init__(
            f"index [{index}] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, "
            "index has read-only-allow-delete block];"
        )


class UnavailableShards(TaskfanError):
    """A write whose shard has no active primary, or too few copies, in time. Source: `UnavailableShardsException`."""

    kind = "unavailable_shards_exception"
    http_status = HTTPStatus.SERVICE_UNAVAILABLE


class ShardNotFound(_OfShard):
    """A shard that is not, or not any more, on the node that was asked. Source: `ShardNotFoundException`."""

    kind = "shard_not_found_exception"
    http_status = HTTPStatus.NOT_FOUND

    def __init__(self, shard: ShardId, reason: str = "no such shard") -> None:
        super().__init__(shard, reason)


class NoLongerPrimary(_OfShard):
    """A primary that another copy has replaced meanwhile. Source: `NoLongerPrimaryShardException`."""

    kind = "no_longer_primary_shard_exception"


class NoShardAvailable(_OfShard):
    """A read whose shard has no active copy. Source: `NoShardAvailableActionException`."""

    kind = "no_shard_available_action_exception"
    http_status = HTTPStatus.SERVICE_UNAVAILABLE


class QueryShardFailed(TaskfanError):
    """A query that the mapping of an index does not allow. Source: `QueryShardException`."""

    kind = "query_shard_exception"
    http_status = HTTPStatus.BAD_REQUEST

    def __init__(self, shard: ShardId, reason: str, *, cause: TaskfanError | None = None) -> None:
        metadata = {"index": shard.index, "index_uuid": shard.index_uuid}
        super().__init__(reason, metadata=metadata, cause=cause)


class NotSimulated(TaskfanError):
    """A part of OpenSearch's searches that taskfan does not have. Differs: there is no such error there."""

    kind = "not_implemented_exception"
    http_status = 501

    def __init__(self, name: str, what: str, known: Iterable[str]) -> None:
        super().__init__(f"[{name}] is {what} of OpenSearch that taskfan does not have; it has {', '.join(known)}")


class SearchFailed(TaskfanError):
    """A search that a shard cannot do. Source: `SearchException`."""

    kind = "search_exception"


class TooComplexToDeterminize(TaskfanError):
    """A regular expression that costs more than it may. Source: Lucene `TooComplexToDeterminizeException`."""

    kind = "too_complex_to_determinize_exception"
    origin = Origin.FOREIGN


class SearchContextMissing(ResourceNotFound):
    """A scroll or reader that is gone. Source: `SearchContextMissingException`."""

    kind = "search_context_missing_exception"

    def __init__(self, context_id: int) -> None:
        super().__init__(f"No search context found for id [{context_id}]")


class TooManyScrolls(TaskfanError):
    """More scrolls are open than a node keeps. Source: `OpenSearchRejectedExecutionException`."""

    kind = "rejected_execution_exception"
    http_status = HTTPStatus.TOO_MANY_REQUESTS
    origin = Origin.KNOWN


class ScriptFailed(TaskfanError):
    """A script that did not compile or run. Source: `ScriptException`."""

    kind = "script_exception"
    http_status = HTTPStatus.BAD_REQUEST


class ShardSearchFailure(msgspec.Struct, frozen=True):
    """One shard of a search gave no result. Source: OpenSearch `ShardSearchFailure`.

    `shard` is None when it is not known: a page of a scroll whose reader is gone.
    """

    shard: ShardId | None
    node_id: str | None
    cause: TaskfanError

    @property
    def index(self) -> str | None:
        """The name of the index."""
        return None if self.shard is None else self.shard.index

    @property
    def number(self) -> int:
        """The number of the shard, -1 if it is not known."""
        return -1 if self.shard is None else self.shard.number

    def to_object(self) -> dict[str, Any]:
        """As a client reads it in `_shards.failures` and in `failed_shards`."""
        node = {} if self.shard is None else {"node": self.node_id}
        return {"shard": self.number, "index": self.index, **node, "reason": self.cause.to_object()}


def group_failures(failures: Sequence[ShardSearchFailure]) -> list[ShardSearchFailure]:
    """One failure for each index, type and reason. Source: OpenSearch `ExceptionsHelper.groupBy`."""
    groups: dict[tuple[str | None, str, str | None], ShardSearchFailure] = {}
    for failure in failures:
        groups.setdefault((failure.index, failure.cause.kind, failure.cause.reason), failure)
    return list(groups.values())


def root_cause(error: TaskfanError) -> TaskfanError:
    """The innermost of OpenSearch's own exceptions; one of Java's is its own root, whatever caused it.

    Of faults in a body it is the innermost that names a place.
    """
    while (cause := error.cause) is not None:
        goes_on = cause.origin is Origin.OPENSEARCH
        if error.kind == XContentParse.kind:
            goes_on = goes_on or cause.kind == XContentParse.kind
        elif error.origin is not Origin.OPENSEARCH:
            goes_on = False
        if not goes_on:
            break
        error = cause
    return error


def _guessed(error: TaskfanError) -> TaskfanError:
    """A root cause as OpenSearch gives it as a cause: one of Java's is wrapped, and told twice.

    Source: OpenSearch `SearchPhaseExecutionException.getCause`, `OpenSearchException.guessRootCauses`.
    """
    root = root_cause(error)
    if root.origin is Origin.OPENSEARCH:
        return root
    wrapper = TaskfanError(root.reason, cause=root)
    wrapper.kind, wrapper.http_status = root.kind, root.http_status
    return wrapper


class SearchPhaseFailed(TaskfanError):
    """Too many shards failed in one phase of a search. Source: `SearchPhaseExecutionException`.

    Differs: it does not travel between nodes, since the node that coordinates the search answers for it.
    """

    kind = "search_phase_execution_exception"

    def __init__(self, phase: str, reason: str, failures: Sequence[ShardSearchFailure]) -> None:
        super().__init__(reason, cause=_guessed(failures[0].cause) if failures else None)
        self.phase, self.failures = phase, tuple(failures)
        self.http_status = self._status()

    def _status(self) -> int:
        if not self.failures:
            return HTTPStatus.SERVICE_UNAVAILABLE
        status = self.failures[0].cause.http_status
        return next((f.cause.http_status for f in reversed(self.failures) if f.cause.http_status >= 500), status)

    @property
    def root_causes(self) -> list[TaskfanError]:
        """What stands in `root_cause` of the answer: the innermost OpenSearch failure of each group of shards."""
        found = [root_cause(failure.cause) for failure in group_failures(self.failures)]
        return found or [self]

    def to_object(self) -> dict[str, Any]:
        """As any error, with the phase and its failures after the reason."""
        return {
            "type": self.kind,
            "reason": self.reason,
            "phase": self.phase,
            "grouped": True,
            "failed_shards": [failure.to_object() for failure in group_failures(self.failures)],
            **({"caused_by": self.cause.to_object()} if self.cause is not None else {}),
        }


class SettingsInvalid(TaskfanError):
    """Settings that are known but may not be set so. Source: Java `ValidationException`."""

    kind = "validation_exception"
    http_status = HTTPStatus.BAD_REQUEST
    origin = Origin.KNOWN

    def __init__(self, *faults: str) -> None:
        super().__init__("Validation Failed: " + "".join(f"{n}: {fault};" for n, fault in enumerate(faults, 1)))


class InputCoercion(TaskfanError):
    """A JSON value of another type, or beyond the range of its type. Source: Jackson `InputCoercionException`."""

    kind = "input_coercion_exception"
    http_status = HTTPStatus.BAD_REQUEST
    origin = Origin.FOREIGN
