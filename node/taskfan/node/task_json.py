"""A task as the bytes a client will read: one JSON object, keys in OpenSearch's order. Pure.

Tasks of one kind, such as the children of one parent, differ in a few values only. So they share a template with a
place for each of these, and a whole list is one formatting: the templates of its tasks, joined, and the values of all.
Source: OpenSearch `TaskInfo.toXContent`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from itertools import chain
from typing import Any, TypeVar

import msgspec

from taskfan.node.task import NO_RESOURCE_STATS, Task
from taskfan.v1 import actions_pb2
from taskfan.v1 import task_pb2 as pb

Made = TypeVar("Made")

# What tasks of one kind have in common: the beginning of their JSON, what follows the times, and its end.
Kind = tuple[bytes, bytes, bytes]

X_OPAQUE_ID = "X-Opaque-Id"
_encode_value = msgspec.json.Encoder().encode
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# In nanoseconds, with their tenths.
_UNITS = (
    ("micros", 1_000, 100),
    ("ms", 1_000_000, 100_000),
    ("s", 1_000_000_000, 100_000_000),
    ("m", 60_000_000_000, 6_000_000_000),
    ("h", 3_600_000_000_000, 360_000_000_000),
    ("d", 86_400_000_000_000, 8_640_000_000_000),
)
_SIZES = [size for _, size, _ in _UNITS]
_DECIMALS = ("", ".1", ".2", ".3", ".4", ".5", ".6", ".7", ".8", ".9")
# Below it a float tells neighbouring nanoseconds apart by so much that its first decimal is that of the exact value.
_EXACT_NS = 1 << 49


class RowKind(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a table shows of all tasks of a kind; what they have not is `-`."""

    type: str
    action: str
    parent: str
    x_opaque_id: str


class TaskRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a table shows of a task, and the place of its kind."""

    number: int
    start_time_ms: int
    running_time_ns: int
    kind: int
    description: str = ""
    resource_stats: msgspec.Raw = msgspec.Raw(b"null")


class TaskRows(msgspec.Struct, array_like=True, frozen=True):
    """The tasks of a node as FORM_ROWS: a text that many tasks share travels once."""

    kinds: list[RowKind]
    rows: list[TaskRow]


def human_duration(nanoseconds: int) -> str:
    """A duration as OpenSearch writes it: the largest unit that fits, one decimal, cut and not rounded.

    Source: OpenSearch `TimeValue.toHumanReadableString`, which cuts the text of a float.
    """
    at = bisect_right(_SIZES, nanoseconds)
    if at == 0:
        return f"{nanoseconds}nanos" if nanoseconds > 0 else "0s" if nanoseconds == 0 else str(nanoseconds)
    unit, size, tenth = _UNITS[at - 1]
    if nanoseconds >= _EXACT_NS:
        text, _, decimals = str(float(nanoseconds) / size).partition(".")
        return text + _DECIMALS[int(decimals[0])] + unit
    tenths = nanoseconds // tenth
    return f"{tenths // 10}{_DECIMALS[tenths % 10]}{unit}"


def human_durations(nanoseconds: Sequence[int]) -> list[str]:
    """The same of many, which mostly have the unit in common: then it is looked up once."""
    least, most = min(nanoseconds, default=0), max(nanoseconds, default=0)
    at = bisect_right(_SIZES, least)
    if at == 0 or most >= _EXACT_NS or at != bisect_right(_SIZES, most):
        return list(map(human_duration, nanoseconds))
    unit, _, tenth = _UNITS[at - 1]
    ends = [decimal + unit for decimal in _DECIMALS]
    return [f"{tenths // 10}{ends[tenths % 10]}" for tenths in [duration // tenth for duration in nanoseconds]]


def iso_time(time_ms: int) -> str:
    """Wall time as ISO 8601 in UTC with milliseconds."""
    time = _EPOCH + timedelta(milliseconds=time_ms)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# ------------------------------------------------------------------ one task


def render(task: Task, now_ns: int, rendering: actions_pb2.TaskRendering) -> bytes:
    """The JSON object of a task as it is at `now_ns`, monotonic time of its node."""
    return _only(task, now_ns, _Objects(rendering))


def render_without_stats(
    task: Task, now_ns: int, rendering: actions_pb2.TaskRendering, status: bytes | None = None
) -> bytes:
    """The same without `resource_stats`, as tasks are stored; `status` may be another one than the task's own."""
    return _only(task, now_ns, _Objects(rendering, with_stats=False, status=status))


def _only(task: Task, now_ns: int, form: _Objects) -> bytes:
    return form.template(task) % tuple(value for [value] in form.columns([task], now_ns))


# ------------------------------------------------------------------ many tasks


def render_tasks(
    tasks: Sequence[Task], now_ns: int, rendering: actions_pb2.TaskRendering, into: pb.RenderedTasks | None = None
) -> pb.RenderedTasks:
    """Tasks of this node as the message that carries them, in the order given.

    Args:
        into: the message to fill, when it is a part of another: to put it there later would copy it, which costs more.
    """
    form = _FORMS[rendering.form](rendering)
    templates = form.separator.join(_for_each_kind(tasks, form.template))
    columns = form.columns(tasks, now_ns)
    bodies = templates % tuple(chain.from_iterable(zip(*columns, strict=True)))
    message = pb.RenderedTasks() if into is None else into
    message.numbers.extend(columns[0])
    message.bodies = form.whole(bodies)
    return message


def join(tasks: Sequence[Task], bodies: Sequence[bytes], rendering: actions_pb2.TaskRendering) -> pb.RenderedTasks:
    """The same of tasks that were rendered one by one. Not as rows."""
    form = _FORMS[rendering.form](rendering)
    assert isinstance(form, _Objects)
    entries = [form.labelled(task, body) for task, body in zip(tasks, bodies, strict=True)]
    return pb.RenderedTasks(numbers=[task.id.number for task in tasks], bodies=form.separator.join(entries))


def _for_each_kind(tasks: Iterable[Task], make: Callable[[Task], Made]) -> list[Made]:
    """What is made of each task: once for all of a kind."""
    made: dict[Kind, Made] = {}
    results = []
    for task in tasks:
        kind = task.kind or _kind(task)
        result = made.get(kind)
        if result is None:
            result = made[kind] = make(task)
        results.append(result)
    return results


# ------------------------------------------------------------------ templates, and the values for their places


class _Objects:
    """Tasks as JSON objects: as much of them as the rendering says, and with this status if one is given."""

    separator = b","

    def __init__(
        self, rendering: actions_pb2.TaskRendering, *, with_stats: bool = True, status: bytes | None = None
    ) -> None:
        self._detailed, self._human, self._status = rendering.detailed, rendering.human, status
        self._between = _between(self._detailed, self._human)
        self._stats = b',"resource_stats":%b' if self._detailed and with_stats else b""

    def template(self, task: Task) -> bytes:
        """The JSON of all tasks of this one's kind, with a place for each of `columns`."""
        head, tail, end = task.kind or _kind(task)
        if task.cancelled is not None and self._human:
            # OpenSearch prints this moment as if it were a duration: 20781.4d.
            time = human_duration(task.cancelled.time_ms * 1_000_000)
            end = b',"cancellation_time":"%b"' % time.encode() + end
        return head + self._between + tail + self._stats + end

    def columns(self, tasks: Sequence[Task], now_ns: int) -> list[Sequence[Any]]:
        """The values of all tasks for each place of a template, in that order; the first are their numbers."""
        running = [now_ns - task.start_ns for task in tasks]
        columns: list[Sequence[Any]] = [[task.id.number for task in tasks]]
        if self._detailed:
            columns.append([self._status_entry(task) for task in tasks])
            columns.append([_encode(task.traits.description) for task in tasks])
        if self._human:
            columns.append([iso_time(task.start_time_ms).encode() for task in tasks])
        columns.append([task.start_time_ms for task in tasks])
        if self._human:
            columns.append([text.encode() for text in human_durations(running)])
        columns.append(running)
        if self._stats:
            columns.append(_resource_stats(tasks))
        return columns

    def whole(self, bodies: bytes) -> bytes:
        """All that is to be sent, of which the bodies are there already."""
        return bodies

    def labelled(self, task: Task, body: bytes) -> bytes:
        """The whole entry of a task, of which the object is there already."""
        return body

    def _status_entry(self, task: Task) -> bytes:
        if self._status is not None:
            return b',"status":' + self._status
        status = (task.human_status if self._human else None) or task.status
        return b',"status":' + status() if status is not None else b""


@cache
def _between(detailed: bool, human: bool) -> bytes:
    """What is between the parts of a template, with the places for the values that are asked for."""
    return b"".join(
        (
            b'%b,"description":%b' if detailed else b"",
            b',"start_time":"%b"' if human else b"",
            b',"start_time_in_millis":%d',
            b',"running_time":"%b"' if human else b"",
            b',"running_time_in_nanos":%d',
        )
    )


class _Keyed(_Objects):
    """Tasks as entries of an object, by their ids."""

    def label(self, task: Task) -> bytes:
        """What is before the object of a task, with a place for its number."""
        return _name(task.id.node_id) + b'%d":'

    def template(self, task: Task) -> bytes:
        """As that of objects."""
        return self.label(task) + super().template(task)

    def columns(self, tasks: Sequence[Task], now_ns: int) -> list[Sequence[Any]]:
        """As those of objects."""
        columns = super().columns(tasks, now_ns)
        return [columns[0], *columns]

    def labelled(self, task: Task, body: bytes) -> bytes:
        """As that of objects."""
        return self.label(task) % task.id.number + body


class _Lines(_Keyed):
    """Tasks as three lines each: their id, that of their parent, and the object."""

    # No line feed is ever inside JSON that is written without blanks.
    separator = b"\n"

    def label(self, task: Task) -> bytes:
        """As that of keyed ones, and the second line."""
        parent = b'%b%d":' % (_name(task.parent.node_id), task.parent.number) if task.parent.is_set else b""
        return super().label(task) + b"\n" + parent + b"\n"


def _resource_stats(tasks: Sequence[Task]) -> list[bytes]:
    told = [task.resource_stats for task in tasks]
    return [NO_RESOURCE_STATS if tell is None else tell() for tell in told]


@lru_cache(maxsize=1024)
def _name(node_id: str) -> bytes:
    """The beginning of the names of its tasks in an object."""
    return _encoded(node_id)[:-1] + b":"


class _Rows:
    """Tasks as `TaskRows`, with description and resource stats only if the rendering is detailed."""

    separator = b","

    def __init__(self, rendering: actions_pb2.TaskRendering) -> None:
        self._detailed = rendering.detailed
        # Those of which there is a template.
        self._kinds: list[RowKind] = []

    def template(self, task: Task) -> bytes:
        """As that of objects."""
        parent = str(task.parent) if task.parent.is_set else "-"
        self._kinds.append(RowKind(task.type, task.action, parent, task.headers.get(X_OPAQUE_ID, "-")))
        return b"[%%d,%%d,%%d,%d%b]" % (len(self._kinds) - 1, b",%b,%b" if self._detailed else b"")

    def whole(self, bodies: bytes) -> bytes:
        """As that of objects."""
        return b"[[%b],[%b]]" % (b",".join(map(_row_kind, self._kinds)), bodies)

    def columns(self, tasks: Sequence[Task], now_ns: int) -> list[Sequence[Any]]:
        """As those of objects."""
        columns: list[Sequence[Any]] = [
            [task.id.number for task in tasks],
            [task.start_time_ms for task in tasks],
            [now_ns - task.start_ns for task in tasks],
        ]
        if self._detailed:
            columns.append([_encode(task.traits.description) for task in tasks])
            columns.append(_resource_stats(tasks))
        return columns


def _row_kind(kind: RowKind) -> bytes:
    texts = (kind.type, kind.action, kind.parent, kind.x_opaque_id)
    return b"[%b]" % b",".join(map(_encode, texts))


_FORMS: Mapping[int, type[_Objects | _Rows]] = {
    actions_pb2.TaskRendering.FORM_KEYED: _Keyed,
    actions_pb2.TaskRendering.FORM_LISTED: _Objects,
    actions_pb2.TaskRendering.FORM_LINES: _Lines,
    actions_pb2.TaskRendering.FORM_ROWS: _Rows,
}


def _kind(task: Task) -> Kind:
    parent = task.parent
    head = _head(task.id.node_id, task.type, task.action)
    cancellable = b',"cancellable":true' if task.cancellable else b',"cancellable":false'
    cancelled = b',"cancelled":true' if task.cancelled else b',"cancelled":false'
    parent_id = b',"parent_task_id":%b%d"' % (_name(parent.node_id), parent.number) if parent.is_set else b""
    tail = cancellable + cancelled + parent_id + b',"headers":' + _encoded_headers(task.headers)
    end = b"}" if task.cancelled is None else b',"cancellation_time_millis":%d}' % task.cancelled.time_ms
    kind = task.kind = _shared((head, tail, end))
    return kind


@lru_cache(maxsize=1024)
def _head(node_id: str, type: str, action: str) -> bytes:
    return b'{"node":%b,"id":%%d,"type":%b,"action":%b' % (_encoded(node_id), _encoded(type), _encoded(action))


@lru_cache(maxsize=64)
def _shared(kind: Kind) -> Kind:
    """An equal one that another task has already, so that a live task costs no more than a reference to it."""
    return kind


def _encode(text: str) -> bytes:
    try:
        return _encode_value(text)
    except UnicodeEncodeError:
        # Half a surrogate pair is no text that UTF-8 can hold; Java writes a question mark for it.
        return _encode_value(text.encode("utf-8", "replace").decode())


def _encoded(text: str) -> bytes:
    """For a template, in which a percent sign stands for itself when there are two."""
    return _encode(text).replace(b"%", b"%%")


def _encoded_headers(headers: Mapping[str, str]) -> bytes:
    return b"{" + b",".join(_encoded(name) + b":" + _encoded(value) for name, value in headers.items()) + b"}"
