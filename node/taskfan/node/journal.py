"""What a member notes of what happens to it: the events, and the line of JSON that each becomes. Pure.

A message is a request or its reply; both have the id of the request, which is unique in the cluster for as long as it
runs. What became of a message shows when the journals of sender and receiver are read together:
`taskfan.cluster.journal_view`.
"""

from __future__ import annotations

import re
from typing import Any, Literal, Protocol

import msgspec

from taskfan.node.cluster_state import ClusterState
from taskfan.node.task import Task

OPAQUE_ID = "X-Opaque-Id"
# Of a description; the rest tells nobody who reads a journal more.
MOST_DESCRIPTION_CHARACTERS = 200

On = Literal["request", "reply"]


def _kind_of(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="kind", tag=_kind_of):
    """Something that happened. Its `kind` in JSON is the name of its class, as in `request_sent`.

    Nodes are ids, a task is `nodeId:number`, empty where there is none. `message` is the id of a request, and of its
    reply; `link` that of a link, the same at both its ends.
    """


# ---------------------------------------------------------------------- the journal itself


class JournalOpened(Event, frozen=True):
    """The first line of a file, and of a process: who writes."""

    node_id: str
    incarnation: str


class JournalClosed(Event, frozen=True):
    """The last line of a process that ended by itself, or whose journal was switched off."""


class JournalGap(Event, frozen=True):
    """So many events could not be written."""

    lost: int


# ---------------------------------------------------------------------- messages


class RequestSent(Event, rename={"size": "bytes"}, frozen=True):
    """A request waits to be written on its link. `ban_of` is the parent that it bans, or with `unban` allows again."""

    message: str
    link: str
    to: str
    action: str
    parent: str = ""
    ban_of: str = ""
    unban: bool = False
    opaque_id: str = ""
    size: int = 0


class RequestReceived(Event, rename={"from_": "from"}, frozen=True):
    """A request has arrived whole."""

    message: str
    link: str
    from_: str
    action: str
    parent: str = ""
    ban_of: str = ""
    unban: bool = False


class RequestRefused(Event, frozen=True):
    """A request was turned away: by its sender before it left, or by its receiver, who says so in a reply."""

    message: str
    link: str
    to: str
    action: str
    reason: str
    parent: str = ""
    ban_of: str = ""
    unban: bool = False


class RequestTimedOut(Event, frozen=True):
    """Who sent the request waits no more for its reply."""

    message: str
    link: str
    to: str
    action: str
    after_ms: int


class ReplySent(Event, rename={"size": "bytes"}, frozen=True):
    """The reply to a request waits to be written, or is lost already with its link. `failure` is the error's type."""

    message: str
    link: str
    to: str
    action: str
    failure: str = ""
    size: int = 0


class ReplyReceived(Event, rename={"from_": "from"}, frozen=True):
    """A reply has arrived whole. `late`: nobody waited for it any more."""

    message: str
    link: str
    from_: str
    action: str = ""
    failure: str = ""
    late: bool = False


class FaultHit(Event, frozen=True):
    """A fault rule spoiled a message; or a whole link, and then `on` is empty.

    `fault` and `rule` name the rule; `spoils` is its kind: drop, delay, refuse, fail, disconnect, duplicate, reorder,
    and for links cut, blackhole, slow. Noted by the member that sends the request, for request and reply alike.
    """

    fault: str
    rule: int
    spoils: str
    to: str
    on: On | Literal[""] = ""
    message: str = ""
    link: str = ""
    action: str = ""
    parent: str = ""
    ban_of: str = ""
    unban: bool = False
    delay_ms: int = 0


class FaultsSet(Event, frozen=True):
    """The faults that this member obeys from now on, by name."""

    faults: list[str] = []


# ---------------------------------------------------------------------- links


class LinkOpened(Event, frozen=True):
    """Both sides have greeted each other. `incoming`: the other node opened it."""

    link: str
    peer: str
    incoming: bool = False


class LinkClosed(Event, frozen=True):
    """A link has ended here. `never_opened`: it could not be opened, or was ended before it was."""

    link: str
    peer: str
    reason: str
    incoming: bool = False
    never_opened: bool = False


# ---------------------------------------------------------------------- tasks and bans


class TaskRegistered(Event, frozen=True):
    """A task begins."""

    task: str
    action: str
    type: str
    parent: str = ""
    description: str = ""
    cancellable: bool = False
    opaque_id: str = ""


class TaskRefused(Event, frozen=True):
    """A task did not begin: its parent was cancelled, or is banned here. `to` is the node it was meant for."""

    action: str
    to: str
    reason: str
    parent: str = ""


class TaskCancelled(Event, frozen=True):
    """A task was asked to stop."""

    task: str
    action: str
    reason: str


class TaskEnded(Event, frozen=True):
    """A task is registered no more."""

    task: str
    action: str


class BanSet(Event, frozen=True):
    """Children of `parent` are refused and cancelled here."""

    parent: str
    reason: str


class BanRemoved(Event, frozen=True):
    """Children of `parent` may begin here again."""

    parent: str


# ---------------------------------------------------------------------- membership


class StateApplied(Event, frozen=True):
    """A cluster state was taken over; nodes by id."""

    version: int
    term: int
    manager: str = ""
    added: list[str] = []
    removed: list[str] = []


AnyEvent = (
    JournalOpened
    | JournalClosed
    | JournalGap
    | RequestSent
    | RequestReceived
    | RequestRefused
    | RequestTimedOut
    | ReplySent
    | ReplyReceived
    | FaultHit
    | FaultsSet
    | LinkOpened
    | LinkClosed
    | TaskRegistered
    | TaskRefused
    | TaskCancelled
    | TaskEnded
    | BanSet
    | BanRemoved
    | StateApplied
)
KINDS = tuple(_kind_of(event.__name__) for event in AnyEvent.__args__)


class Journal(Protocol):
    """Where a member notes what happens. Ask `is_on` before an event is made: then it costs nothing when off."""

    is_on: bool

    def append(self, event: AnyEvent, lamport_time: int | None = None) -> None:
        """Note an event, now, or at the Lamport time of the frame that carries it. Never waits, never raises."""


class NoJournal:
    """Notes nothing."""

    is_on = False

    def append(self, event: AnyEvent, lamport_time: int | None = None) -> None:
        """Not called: `is_on` is asked first."""


NO_JOURNAL: Journal = NoJournal()


# ---------------------------------------------------------------------- lines


class Entry(msgspec.Struct, frozen=True):
    """One line of a journal.

    Args:
        lamport: what was caused has a higher time than its cause, on whatever nodes they happened.
        time_ms: wall time of the node, in milliseconds since the epoch.
        node: name of the node to which it happened.
    """

    lamport: int
    time_ms: int
    node: str
    event: AnyEvent

    @property
    def kind(self) -> str:
        """The kind of the event, such as `request_sent`."""
        return _kind_of(type(self.event).__name__)


class _Head(msgspec.Struct):
    lamport: int
    time_ms: int
    node: str


_encoder = msgspec.json.Encoder()
_heads = msgspec.json.Decoder(_Head)
_events: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


class DamagedLine(ValueError):
    """Not a line of a journal of this version; or half of one."""


def line_of(lamport: int, time_ms: int, node: str, event: AnyEvent) -> bytes:
    """The line of an event: one JSON object, and a line break."""
    return b'{"lamport":%d,"time_ms":%d,"node":%b,%b\n' % (
        lamport,
        time_ms,
        _encoder.encode(node),
        _encoder.encode(event)[1:],
    )


def entry_of(line: bytes) -> Entry:
    """What a line says. Raises DamagedLine."""
    try:
        head, event = _heads.decode(line), _events.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedLine(str(error)) from None
    return Entry(head.lamport, head.time_ms, head.node, event)


def as_json(entry: Entry) -> dict[str, Any]:
    """The object of an entry's line."""
    shown: dict[str, Any] = msgspec.json.decode(line_of(entry.lamport, entry.time_ms, entry.node, entry.event))
    return shown


# ---------------------------------------------------------------------- ids, and events of tasks


def message_id(incarnation: str, request_id: int) -> str:
    """The id of a request and its reply: the sender's incarnation, and its number there."""
    return f"{incarnation}:{request_id}"


def link_id(incarnation: str, number: int) -> str:
    """The id of a link: the incarnation that opened it, and its number there."""
    return f"{incarnation}/{number}"


def task_event(what: str, task: Task) -> AnyEvent:
    """The event of a task that was `registered`, `cancelled` or `unregistered`, as its node tells listeners."""
    task_id, action = str(task.id), task.action
    if what == "unregistered":
        return TaskEnded(task_id, action)
    if what == "cancelled":
        assert task.cancelled is not None
        return TaskCancelled(task_id, action, task.cancelled.reason)
    return TaskRegistered(
        task_id,
        action,
        task.type,
        str(task.parent) if task.parent.is_set else "",
        task.traits.description[:MOST_DESCRIPTION_CHARACTERS],
        task.traits.cancellable,
        task.headers.get(OPAQUE_ID, ""),
    )


def state_event(before: ClusterState, state: ClusterState) -> StateApplied:
    """The event of a cluster state that follows another; a node that was restarted is removed and added."""
    were = {node.id: node.ephemeral_id for node in before}
    are = {node.id: node.ephemeral_id for node in state}
    added = [node_id for node_id, process in are.items() if were.get(node_id) != process]
    removed = [node_id for node_id, process in were.items() if are.get(node_id) != process]
    return StateApplied(state.version, state.term, state.manager_id or "", added, removed)
