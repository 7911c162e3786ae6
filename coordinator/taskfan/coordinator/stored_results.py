"""Results of tasks that are kept: written to `.tasks`, the index that is made for them, and read from there.

Source: OpenSearch `TaskResultsService`, `TaskResult`, `TransportGetTaskAction.getFinishedTaskFromIndex`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from taskfan.coordinator.bulk import INDEX_ACTION
from taskfan.coordinator.index_admin import CREATE_INDEX_ACTION, create_index_request
from taskfan.node.action import ActionContext
from taskfan.node.actions.get_document import GET_ACTION
from taskfan.node.errors import IndexNotFound, ResourceNotFound, TaskfanError
from taskfan.node.ids import TaskId
from taskfan.node.index.bulk import BulkRequest
from taskfan.node.index.by_scroll_status import ByScrollResponse
from taskfan.node.index.documents import Document, OpType, WriteRequest
from taskfan.node.index.errors import IndexAlreadyExists
from taskfan.node.index.index_requests import tasks_index_body
from taskfan.node.index.metadata import TASKS_INDEX
from taskfan.node.task_json import human_duration, iso_time, render_without_stats
from taskfan.v1 import actions_pb2
from taskfan.v1 import indices_pb2 as pb

TOO_MANY_REQUESTS = 429
# Source: OpenSearch `TaskResultsService.STORE_BACKOFF_POLICY`: some ten minutes in all.
MOST_RETRIES, FIRST_RETRY_MS = 14, 250
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_decode_document = msgspec.msgpack.Decoder(Document).decode


# ------------------------------------------------------------------ writing


async def store_result(
    context: ActionContext, *, response: ByScrollResponse | None = None, error: TaskfanError | None = None
) -> None:
    """Keep what came of the task; it runs until that is done. A write that is rejected is tried again.

    Raises:
        TaskfanError: the index could not be made or written to.
    """
    task = context.task
    rendering = actions_pb2.TaskRendering(detailed=True)
    body = b'{"completed":true,"task":' + render_without_stats(task, context.clock.monotonic_ns(), rendering)
    if response is not None:
        body += b',"response":' + _encode(response.to_object(human=True)) + b"}"
    elif error is not None:
        body += b',"error":' + _encode(error.to_object()) + b"}"
    await _create_index(context)
    for attempt in range(MOST_RETRIES + 1):
        try:
            await _write(context, body)
            return
        except TaskfanError as failure:
            if failure.http_status != TOO_MANY_REQUESTS or attempt == MOST_RETRIES:
                raise
        await context.clock.sleep(_retry_ms(attempt) / 1000)


def _retry_ms(attempt: int) -> int:
    return FIRST_RETRY_MS + 10 * (int(math.exp(0.8 * attempt)) - 1)


async def _create_index(context: ActionContext) -> None:
    """Make `.tasks` unless it is there; another task may do so at the same moment."""
    if TASKS_INDEX in context.node.cluster_state.indices:
        return
    request = create_index_request(TASKS_INDEX, tasks_index_body())
    try:
        await context.node.execute(CREATE_INDEX_ACTION, request, headers=context.task.headers)
    except TaskfanError as error:
        if error.kind != IndexAlreadyExists.kind:
            raise


async def _write(context: ActionContext, body: bytes) -> None:
    """Not as a child: one that was cancelled could have none."""
    task_id = str(context.task.id)
    write = WriteRequest(OpType.INDEX, TASKS_INDEX, task_id, body)
    request = BulkRequest([write])
    await context.node.execute(INDEX_ACTION, request, headers=context.task.headers)


# ------------------------------------------------------------------ reading


async def stored_result(context: ActionContext, wanted: TaskId, *, human: bool) -> actions_pb2.GetTaskResponse:
    """The result that is kept of a task.

    Raises:
        ResourceNotFound: there is none.
        TaskfanError: it could not be read.
    """
    missing = f"task [{wanted}] isn't running and hasn't stored its results"
    request = pb.GetRequest(index=TASKS_INDEX, id=str(wanted), realtime=True)
    try:
        found: pb.GetResponse = await context.execute(GET_ACTION, request)
    except TaskfanError as error:
        if error.kind != IndexNotFound.kind:
            raise
        raise ResourceNotFound(missing, cause=error) from None
    if not found.found:
        raise ResourceNotFound(missing)
    source = _decode_document(found.document).source
    if not source:
        raise TaskfanError(f"Stored task status for [{wanted}] didn't contain any source!")
    return read_result(source, human=human)


def read_result(source: bytes, *, human: bool) -> actions_pb2.GetTaskResponse:
    """A stored document as the answer to who asks for the task: the task written anew, the rest as it was.

    Source: OpenSearch `TaskResult.PARSER`, `TaskInfo.PARSER`.
    """
    stored: Mapping[str, msgspec.Raw] = msgspec.json.decode(source, type=dict[str, msgspec.Raw])
    answer = actions_pb2.GetTaskResponse(
        completed=_decode(stored["completed"]), task=_encode(_task_object(_decode(stored["task"]), human=human))
    )
    if "error" in stored:
        answer.error = bytes(stored["error"])
    if "response" in stored:
        answer.response = bytes(stored["response"])
    return answer


def _task_object(stored: Mapping[str, Any], *, human: bool) -> dict[str, Any]:
    """In the order of a task that runs. Of a task stored by an older version `cancelled` is missing."""
    shown: dict[str, Any] = {}
    for name in ("node", "id", "type", "action", "status", "description"):
        if name in stored:
            shown[name] = stored[name]
    _put(shown, stored, "start_time", "start_time_in_millis", iso_time, human)
    _put(shown, stored, "running_time", "running_time_in_nanos", human_duration, human)
    shown["cancellable"] = stored.get("cancellable", False)
    shown["cancelled"] = stored.get("cancelled", False)
    if "parent_task_id" in stored:
        shown["parent_task_id"] = stored["parent_task_id"]
    shown["headers"] = stored.get("headers", {})
    if "resource_stats" in stored:
        shown["resource_stats"] = stored["resource_stats"]
    if stored.get("cancellation_time_millis") is not None:
        as_duration: Callable[[int], str] = lambda ms: human_duration(ms * 1_000_000)  # noqa: E731
        _put(shown, stored, "cancellation_time", "cancellation_time_millis", as_duration, human)
    return shown


def _put(
    shown: dict[str, Any],
    stored: Mapping[str, Any],
    readable: str,
    name: str,
    write: Callable[[int], str],
    human: bool,
) -> None:
    value = stored.get(name, 0)
    if human:
        shown[readable] = write(value)
    shown[name] = value
