"""The journals of all nodes as one: merged in Lamport order, filtered, and what became of each message. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from taskfan.node.action_filter import action_pattern
from taskfan.node.journal import (
    Entry,
    FaultHit,
    JournalOpened,
    LinkClosed,
    On,
    ReplyReceived,
    ReplySent,
    RequestReceived,
    RequestRefused,
    RequestSent,
    TaskRegistered,
)

# received: it arrived, though perhaps nobody waited any more. dropped: a fault lost it. refused: it never left, or was
# turned away. link_closed: its link ended before it arrived. on_its_way: none of this, as far as is written.
Fate = Literal["received", "dropped", "refused", "link_closed", "on_its_way"]


def merge(journals: Sequence[Iterable[Entry]]) -> Iterator[Entry]:
    """The entries of several nodes, each already in its own order: by Lamport time, then in the order of the nodes."""

    def ranked(place: int, journal: Iterable[Entry]) -> Iterator[tuple[int, int, Entry]]:
        return ((entry.lamport, place, entry) for entry in journal)

    merged = heapq.merge(*(ranked(place, journal) for place, journal in enumerate(journals)), key=lambda it: it[:2])
    return (entry for _, _, entry in merged)


def names_of(entries: Iterable[Entry]) -> dict[str, str]:
    """Names of nodes by id, from what they wrote first."""
    return {entry.event.node_id: entry.node for entry in entries if isinstance(entry.event, JournalOpened)}


# ---------------------------------------------------------------------- what became of each message


class Message(msgspec.Struct, eq=False):
    """A request or a reply. `sender` and `receiver` are the id of a node where only the other one's journal knows it.

    `by` is the fault that decided its fate, `reason` why it was refused or its link closed. `sent` and `received` are
    the entries that say so, None where there is none. `hits` are all that faults did to it.
    """

    id: str
    on: On
    sender: str = ""
    receiver: str = ""
    action: str = ""
    parent: str = ""
    ban_of: str = ""
    unban: bool = False
    link: str = ""
    failure: str = ""
    fate: Fate = "on_its_way"
    by: str = ""
    reason: str = ""
    late: bool = False
    sent: Entry | None = None
    received: Entry | None = None
    hits: list[FaultHit] = []
    # When it was heard of first.
    lamport: int = 0


def messages_of(entries: Iterable[Entry]) -> list[Message]:
    """Every message, in the order in which they were heard of, each with its one fate."""
    told = _Told()
    for entry in entries:
        told.add(entry)
    return told.messages()


class _Told:
    """What entries say of messages and of links, gathered."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._messages: dict[tuple[str, On], Message] = {}
        self._refusals: dict[str, RequestRefused] = {}
        self._closed: dict[str, LinkClosed] = {}
        self._spoiled: dict[str, FaultHit] = {}

    def add(self, entry: Entry) -> None:
        event = entry.event
        match event:
            case JournalOpened():
                self._names[event.node_id] = entry.node
            case RequestSent() | RequestReceived() | RequestRefused():
                self._request(entry, event)
            case ReplySent():
                reply = self._find(entry, event.message, "reply", event.action, event.link)
                reply.sender, reply.receiver, reply.failure = entry.node, reply.receiver or event.to, event.failure
                reply.sent = entry
            case ReplyReceived():
                reply = self._find(entry, event.message, "reply", event.action, event.link)
                reply.sender, reply.receiver, reply.failure = reply.sender or event.from_, entry.node, event.failure
                if reply.received is None:
                    reply.received, reply.late = entry, event.late
            case FaultHit(on="request" | "reply"):
                self._hit(entry, event)
            case FaultHit():
                self._spoiled.setdefault(event.link, event)
            case LinkClosed():
                # Both ends say so; the one that opened it knows whether it was ever open.
                if event.link not in self._closed or not event.incoming:
                    self._closed[event.link] = event

    def _find(self, entry: Entry, message_id: str, on: On, action: str, link: str) -> Message:
        message = self._messages.get((message_id, on))
        if message is None:
            message = self._messages[message_id, on] = Message(message_id, on, lamport=entry.lamport)
        if on == "reply" and (request := self._messages.get((message_id, "request"))) is not None:
            action = action or request.action
            message.parent, message.ban_of, message.unban = request.parent, request.ban_of, request.unban
        message.action, message.link = message.action or action, message.link or link
        return message

    def _request(self, entry: Entry, event: RequestSent | RequestReceived | RequestRefused) -> None:
        message = self._find(entry, event.message, "request", event.action, event.link)
        message.parent, message.ban_of, message.unban = event.parent, event.ban_of, event.unban
        if isinstance(event, RequestReceived):
            message.sender, message.receiver = message.sender or event.from_, entry.node
            message.received = message.received or entry
            return
        message.sender, message.receiver = entry.node, message.receiver or event.to
        if isinstance(event, RequestRefused):
            self._refusals[event.message] = event
        else:
            message.sent = entry

    def _hit(self, entry: Entry, event: FaultHit) -> None:
        assert event.on, "of a link"
        message = self._find(entry, event.message, event.on, event.action, event.link)
        message.parent = message.parent or event.parent
        message.ban_of, message.unban = message.ban_of or event.ban_of, message.unban or event.unban
        ends = (entry.node, event.to) if event.on == "request" else (event.to, entry.node)
        message.sender, message.receiver = message.sender or ends[0], message.receiver or ends[1]
        message.hits.append(event)

    def messages(self) -> list[Message]:
        """All of them, with their fates."""
        for message in self._messages.values():
            message.sender = self._names.get(message.sender, message.sender)
            message.receiver = self._names.get(message.receiver, message.receiver)
            message.fate, message.by, message.reason = self._fate(message)
        return sorted(self._messages.values(), key=lambda message: message.lamport)

    def _fate(self, message: Message) -> tuple[Fate, str, str]:
        for hit in message.hits:
            fate = _FATES.get((hit.spoils, message.on))
            if fate is not None:
                return fate, hit.fault, hit.spoils
        refusal = self._refusals.get(message.id) if message.on == "request" else None
        if refusal is not None:
            return "refused", "", refusal.reason
        # Of a receiver that was killed the last lines may be missing; a reply shows that it had the request.
        if message.received is not None or (message.on == "request" and self._was_answered(message.id)):
            return "received", "", ""
        spoiled, closed = self._spoiled.get(message.link), self._closed.get(message.link)
        if spoiled is not None:
            return ("dropped" if spoiled.spoils == "blackhole" else "link_closed"), spoiled.fault, spoiled.spoils
        if closed is None:
            return "on_its_way", "", ""
        return ("refused" if closed.never_opened and message.on == "request" else "link_closed"), "", closed.reason

    def _was_answered(self, message_id: str) -> bool:
        reply = self._messages.get((message_id, "reply"))
        return reply is not None and not (reply.sent is None and reply.received is None)


# After these a message is decided; delays, duplicates and the like leave it to what happens next.
_FATES: dict[tuple[str, On], Fate] = {
    ("drop", "request"): "dropped",
    ("drop", "reply"): "dropped",
    ("fail", "request"): "refused",
    ("fail", "reply"): "dropped",
    ("refuse", "request"): "refused",
    ("disconnect", "request"): "link_closed",
    ("disconnect", "reply"): "link_closed",
}


# ---------------------------------------------------------------------- filters

CHECKS = "internal:coordination/fault_detection/"


def without_routine(entries: Sequence[Entry], opaque_id: str = "") -> list[Entry]:
    """Without what only says that all is well: checks of nodes on one another, if they and their answers arrived.

    Args:
        opaque_id: what was asked under this `X-Opaque-Id` is left out as well.
    """
    tasks = {
        entry.event.task
        for entry in entries
        if isinstance(entry.event, TaskRegistered)
        and (entry.event.action.startswith(CHECKS) or (opaque_id and entry.event.opaque_id == opaque_id))
    }
    messages = [
        message for message in messages_of(entries) if message.action.startswith(CHECKS) or message.parent in tasks
    ]
    answered = {message.id for message in messages if message.on == "reply"}
    troubled = {message.id for message in messages if not _went_well(message)}
    routine = tasks | answered - troubled
    return [entry for entry in entries if _subject(entry) not in routine]


def _went_well(message: Message) -> bool:
    return message.fate == "received" and not (message.failure or message.late or message.hits)


def _subject(entry: Entry) -> str:
    """The message that an entry is about, or the task."""
    return getattr(entry.event, "message", "") or getattr(entry.event, "task", "")


class Filter:
    """Which entries are wanted; all conditions must hold. One that is empty lets all pass. To be asked in order.

    Args:
        task: this task, all that descends from it, the messages sent on their behalf, and their bans.
        action, node, kind: patterns with `*`, several with commas; nodes by name or id.
    """

    def __init__(self, task: str = "", action: str = "", node: str = "", kind: str = "") -> None:
        self._task, self._names = task, dict[str, str]()
        self._family = {task}
        self._messages: dict[str, bool] = {}
        self._actions: dict[str, str] = {}
        self._action, self._node, self._kind = (_matcher(patterns) for patterns in (action, node, kind))

    def passes(self, entry: Entry) -> bool:
        """Whether it is wanted. What it tells of tasks and messages is kept for those that follow."""
        event = entry.event
        if isinstance(event, JournalOpened):
            self._names[entry.node] = event.node_id
        of_task = self._of_family(event) if self._task else True
        action = getattr(event, "action", "")
        message = getattr(event, "message", "")
        if message and self._action is not None:
            action = self._actions.setdefault(message, action) or action
        return (
            of_task
            and (self._action is None or bool(action and self._action(action)))
            and (self._kind is None or bool(self._kind(entry.kind)))
            and (self._node is None or bool(self._node(entry.node) or self._node(self._names.get(entry.node, ""))))
        )

    def _of_family(self, event: object) -> bool:
        if isinstance(event, TaskRegistered) and event.parent in self._family:
            self._family.add(event.task)
        message = getattr(event, "message", "")
        belongs = (
            getattr(event, "task", "") in self._family
            or getattr(event, "parent", "") in self._family
            or getattr(event, "ban_of", "") in self._family
            or message in self._messages
        )
        if belongs and message:
            self._messages[message] = True
        return belongs


def _matcher(patterns: str) -> Callable[[str], object] | None:
    return action_pattern(tuple(part.strip() for part in patterns.split(","))) if patterns else None
