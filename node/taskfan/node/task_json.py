"""A task as the bytes a client will read: one JSON object, keys in OpenSearch's order. Pure.

All but the running time, the status and the cancellation of a task never change, so these parts are made once,
when it is first shown. Source: OpenSearch `TaskInfo.toXContent`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from taskfan.node.task import NO_RESOURCE_STATS, Task
from taskfan.v1 import actions_pb2
from taskfan.v1 import task_pb2 as pb

_encode_value = msgspec.json.Encoder().encode
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Units in nanoseconds, as floats: OpenSearch divides floats too.
_UNITS = (("d", 86_400e9), ("h", 3_600e9), ("m", 60e9), ("s", 1e9), ("ms", 1e6), ("micros", 1e3), ("nanos", 1.0))


def _encode(text: str) -> bytes:
    try:
        return _encode_value(text)
    except UnicodeEncodeError:
        # Half a surrogate pair is no text that UTF-8 can hold; Java writes a question mark for it.
        return _encode_value(text.encode("utf-8", "replace").decode())


def _encode_headers(headers: Mapping[str, str]) -> bytes:
    return b"{" + b",".join(_encode(name) + b":" + _encode(value) for name, value in headers.items()) + b"}"


def human_duration(nanoseconds: int) -> str:
    """A duration as OpenSearch writes it: the largest unit that fits, one decimal, cut and not rounded.

    Source: OpenSearch `TimeValue.toHumanReadableString`, which cuts the text of a float.
    """
    if nanoseconds == 0:
        return "0s"
    for unit, size in _UNITS:
        if nanoseconds >= size:
            whole, _, fraction = str(float(nanoseconds) / size).partition(".")
            return f"{whole}.{fraction[0]}{unit}" if fraction[0] != "0" else f"{whole}{unit}"
    return str(nanoseconds)


def iso_time(time_ms: int) -> str:
    """Wall time as ISO 8601 in UTC with milliseconds."""
    time = _EPOCH + timedelta(milliseconds=time_ms)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def render(task: Task, now_ns: int, rendering: actions_pb2.TaskRendering) -> bytes:
    """The JSON object of a task as it is at `now_ns`, monotonic time of its node."""
    parts = task.rendered
    if parts is None:
        parts = task.rendered = _unchanging_parts(task)
    head, times, cancellable, tail = parts
    running_ns = now_ns - task.start_ns
    if not rendering.detailed and not rendering.human and task.cancelled is None:
        return b'%b%b,"running_time_in_nanos":%d%b"cancelled":false%b}' % (head, times, running_ns, cancellable, tail)
    return b"".join(_all_parts(task, rendering, running_ns, parts, _status(task, rendering), with_stats=True))


def render_without_stats(
    task: Task, now_ns: int, rendering: actions_pb2.TaskRendering, status: bytes | None = None
) -> bytes:
    """The same without `resource_stats`, as tasks are stored; `status` may be another one than the task's own."""
    parts = task.rendered or _unchanging_parts(task)
    shown = _status(task, rendering) if status is None else status
    return b"".join(_all_parts(task, rendering, now_ns - task.start_ns, parts, shown, with_stats=False))


def _status(task: Task, rendering: actions_pb2.TaskRendering) -> bytes | None:
    status = (task.human_status if rendering.human else None) or task.status
    return status() if status is not None and rendering.detailed else None


def _unchanging_parts(task: Task) -> tuple[bytes, bytes, bytes, bytes]:
    head = b'{"node":%b,"id":%d,"type":%b,"action":%b' % (
        _encode(task.id.node_id),
        task.id.number,
        _encode(task.type),
        _encode(task.action),
    )
    times = b',"start_time_in_millis":%d' % task.start_time_ms
    cancellable = b',"cancellable":true,' if task.cancellable else b',"cancellable":false,'
    parent = b',"parent_task_id":' + _encode(str(task.parent)) if task.parent.is_set else b""
    return head, times, cancellable, parent + b',"headers":' + _encode_headers(task.headers)


def _all_parts(
    task: Task,
    rendering: actions_pb2.TaskRendering,
    running_ns: int,
    parts: tuple[bytes, ...],
    status: bytes | None,
    *,
    with_stats: bool,
) -> Iterable[bytes]:
    head, times, cancellable, tail = parts
    yield head
    if rendering.detailed:
        if status is not None:
            yield b',"status":' + status
        yield b',"description":' + _encode(task.traits.description)
    if rendering.human:
        yield b',"start_time":"%b"' % iso_time(task.start_time_ms).encode()
    yield times
    if rendering.human:
        yield b',"running_time":"%b"' % human_duration(running_ns).encode()
    yield b',"running_time_in_nanos":%d' % running_ns
    yield cancellable
    yield b'"cancelled":true' if task.cancelled else b'"cancelled":false'
    yield tail
    if rendering.detailed and with_stats:
        yield b',"resource_stats":'
        yield task.resource_stats() if task.resource_stats is not None else NO_RESOURCE_STATS
    if task.cancelled is not None:
        if rendering.human:
            # OpenSearch prints this moment as if it were a duration: 20781.4d.
            yield b',"cancellation_time":"%b"' % human_duration(task.cancelled.time_ms * 1_000_000).encode()
        yield b',"cancellation_time_millis":%d' % task.cancelled.time_ms
    yield b"}"


def render_tasks(tasks: Iterable[Task], now_ns: int, rendering: actions_pb2.TaskRendering) -> pb.RenderedTasks:
    """Tasks of this node as the message that carries them, in the order given."""
    chosen = list(tasks)
    return pb.RenderedTasks(
        numbers=[task.id.number for task in chosen],
        parents=[str(task.parent) if task.parent.is_set else "" for task in chosen],
        bodies=[render(task, now_ns, rendering) for task in chosen],
    )
