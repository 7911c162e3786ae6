"""Entries of a journal as lines for people. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from taskfan.cluster.journal_view import Message
from taskfan.node import journal as j


class Texts:
    """Says what entries tell, with nodes by their names. `messages` tell what became of what was sent."""

    def __init__(self, names: Mapping[str, str], messages: Iterable[Message] = ()) -> None:
        self._names = names
        self._fates = {(message.id, message.on): message for message in messages}

    def node(self, node_id: str) -> str:
        """The name of a node, or what is known of it."""
        return self._names.get(node_id, node_id)

    def task(self, task_id: str) -> str:
        """A task id with the node's name in it."""
        node_id, colon, number = task_id.rpartition(":")
        return f"{self.node(node_id)}{colon}{number}"

    def what(self, event: j.AnyEvent) -> str:
        """The event in one line."""
        match event:
            case j.JournalOpened():
                return f"node {event.node_id}, process {event.incarnation}"
            case j.JournalClosed():
                return ""
            case j.JournalGap():
                return f"{event.lost} events could not be written"
            case j.FaultsSet():
                return f"obeys {', '.join(event.faults) or 'none'}"
            case j.StateApplied():
                return self._state(event)
            case j.LinkOpened():
                return f"{'from' if event.incoming else 'to'} {self.node(event.peer)}"
            case j.LinkClosed():
                return f"{'from' if event.incoming else 'to'} {self.node(event.peer)}: {event.reason}"
        return self._of_task(event) or self._of_message(event)

    def _state(self, event: j.StateApplied) -> str:
        changes = [f"+ {self.node(node)}" for node in event.added] + [f"- {self.node(node)}" for node in event.removed]
        manager = self.node(event.manager) if event.manager else "none"
        return " ".join([f"version {event.version}, term {event.term}, manager {manager}", *changes])

    def _of_task(self, event: j.AnyEvent) -> str:
        match event:
            case j.TaskRegistered():
                parent = f", child of {self.task(event.parent)}" if event.parent else ""
                about = f", {event.description}" if event.description else ""
                return f"{self.task(event.task)} {event.action}{parent}{about}"
            case j.TaskRefused():
                return f"{event.action} for {self.node(event.to)}, child of {self.task(event.parent)}: {event.reason}"
            case j.TaskCancelled():
                return f"{self.task(event.task)} {event.action}: {event.reason}"
            case j.TaskEnded():
                return f"{self.task(event.task)} {event.action}"
            case j.BanSet():
                return f"children of {self.task(event.parent)}: {event.reason}"
            case j.BanRemoved():
                return f"children of {self.task(event.parent)}"
        return ""

    def _of_message(self, event: j.AnyEvent) -> str:
        match event:
            case j.RequestSent():
                return (
                    f"{self._number(event)} → {self.node(event.to)} {self._about(event)}{self._fate(event, 'request')}"
                )
            case j.RequestReceived():
                return f"{self._number(event)} ← {self.node(event.from_)} {self._about(event)}"
            case j.RequestRefused():
                return f"{self._number(event)} → {self.node(event.to)} {self._about(event)}: {event.reason}"
            case j.RequestTimedOut():
                return f"{self._number(event)} → {self.node(event.to)} {event.action} after {event.after_ms} ms"
            case j.ReplySent():
                fate = self._fate(event, "reply")
                return f"{self._number(event)} → {self.node(event.to)} {event.action}{_failure(event)}{fate}"
            case j.ReplyReceived():
                late = " (late)" if event.late else ""
                return f"{self._number(event)} ← {self.node(event.from_)} {event.action}{_failure(event)}{late}"
            case j.FaultHit():
                on = f" {event.on} {self._number(event)}" if event.on else " the link"
                delay = f" by {event.delay_ms} ms" if event.delay_ms else ""
                return f"{event.fault}: {event.spoils}{on} → {self.node(event.to)} {self._about(event)}{delay}".rstrip()
        return ""

    def _number(self, event: j.AnyEvent) -> str:
        """The short number of a message; with its sender it is unique for as long as that process lives."""
        return "#" + getattr(event, "message", "").rpartition(":")[2]

    def _about(self, event: j.RequestSent | j.RequestReceived | j.RequestRefused | j.FaultHit) -> str:
        if event.ban_of:
            return f"{event.action} {'allows' if event.unban else 'bans'} {self.task(event.ban_of)}"
        return f"{event.action} for {self.task(event.parent)}" if event.parent else event.action

    def _fate(self, event: j.RequestSent | j.ReplySent, on: j.On) -> str:
        message = self._fates.get((event.message, on))
        return "" if message is None else f" — {fate_text(message)}"


def fate_text(message: Message) -> str:
    """What became of it, in a few words."""
    match message.fate:
        case "received":
            return "received late" if message.late else "received"
        case "dropped":
            return f"dropped by fault {message.by}"
        case "refused":
            return f"refused by fault {message.by}" if message.by else f"refused: {message.reason}"
        case "link_closed":
            return f"link closed by fault {message.by}" if message.by else f"link closed: {message.reason}"
    return "on its way"


def _failure(event: j.ReplySent | j.ReplyReceived) -> str:
    return f" failed: {event.failure}" if event.failure else ""


def table_line(entry: j.Entry, texts: Texts, node_width: int, *, with_time: bool = False) -> str:
    """Lamport time, with `with_time` the time of day, node, kind, and what happened."""
    time = f"  {time_of_day(entry.time_ms)}" if with_time else ""
    return f"{entry.lamport:>8}{time}  {entry.node:<{node_width}}  {entry.kind:<16}  {texts.what(entry.event)}".rstrip()


def time_of_day(time_ms: int) -> str:
    """UTC, as logs have it; `time_ms` counts from the epoch."""
    seconds, milliseconds = divmod(time_ms % 86_400_000, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02},{milliseconds:03}"
