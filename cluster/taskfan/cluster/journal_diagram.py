"""One task and all that descends from it as a sequence diagram in text: nodes are lanes, time goes down. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from taskfan.cluster.journal_text import Texts, fate_text
from taskfan.cluster.journal_view import Filter, Message, messages_of, names_of
from taskfan.node import journal as j

LEAST_LANE, MOST_LANE = 18, 48
_TIME_WIDTH = 8


class _Note(msgspec.Struct, frozen=True):
    """Something that happened on one lane."""

    lamport: int
    node: str
    text: str


class _Arrow(msgspec.Struct, frozen=True):
    """A message from lane to lane; `lost` when it did not arrive."""

    lamport: int
    sender: str
    receiver: str
    text: str
    lost: str = ""


_Row = _Note | _Arrow


def diagram(entries: Sequence[j.Entry], task: str, width: int = 120) -> str:
    """The diagram, empty when the journal knows nothing of this task.

    A message stands where it arrived, and one that did not where it was sent; so what stands above it on a lane had
    happened there before.

    Args:
        entries: merged, in Lamport order.
        width: in characters, that it should keep to; lanes do not get narrower than they can be read.
    """
    rows = _rows(entries, task)
    nodes = list(dict.fromkeys(node for row in rows for node in _nodes_of(row)))
    if not nodes:
        return ""
    lane = min(max((width - _TIME_WIDTH) // len(nodes), LEAST_LANE), MOST_LANE)
    page = _Page(nodes, lane)
    for row in rows:
        page.add(row)
    return page.text()


def _nodes_of(row: _Row) -> tuple[str, ...]:
    return (row.node,) if isinstance(row, _Note) else (row.sender, row.receiver)


def _rows(entries: Sequence[j.Entry], task: str) -> list[_Row]:
    wanted = Filter(task=task)
    family = [entry for entry in entries if wanted.passes(entry)]
    if not family:
        return []
    ids = {getattr(entry.event, "message", "") for entry in family}
    messages = [message for message in messages_of(entries) if message.id in ids]
    links = {message.link for message in messages if message.fate == "link_closed"}
    texts = Texts(names_of(entries))
    end = family[-1].lamport
    closed = [e for e in entries if isinstance(e.event, j.LinkClosed) and e.event.link in links and e.lamport <= end]
    notes = [_Note(e.lamport, e.node, text) for e in (*family, *closed) if (text := _local(e.event, texts))]
    rows: list[_Row] = [*notes, *(_arrow(message, texts) for message in messages)]
    return sorted(rows, key=lambda row: row.lamport)


def _local(event: j.AnyEvent, texts: Texts) -> str:
    """What happened on a node, if it is to stand there as a note of its own."""
    match event:
        case j.TaskRegistered():
            parent = f" of {texts.task(event.parent)}" if event.parent else ""
            return (
                f"● {_number(event.task)}{parent} {event.action}{f' ({event.description})' * bool(event.description)}"
            )
        case j.TaskEnded():
            return f"○ {_number(event.task)} ended"
        case j.TaskCancelled():
            return f"✗ {_number(event.task)} cancelled: {event.reason}"
        case j.TaskRefused():
            return f"✗ {event.action} refused: {event.reason}"
        case j.BanSet():
            return f"▣ ban of {texts.task(event.parent)}: {event.reason}"
        case j.BanRemoved():
            return f"□ no more ban of {texts.task(event.parent)}"
        case j.RequestTimedOut():
            return f"… no answer in {event.after_ms} ms: #{event.message.rpartition(':')[2]}"
        case j.LinkClosed():
            return f"▬ link {'from' if event.incoming else 'to'} {texts.node(event.peer)} closed: {event.reason}"
    return ""


def _number(task_id: str) -> str:
    return task_id.rpartition(":")[2]


def _arrow(message: Message, texts: Texts) -> _Arrow:
    text = _label(message)
    for hit in message.hits:
        if hit.spoils in ("delay", "slow"):
            text += f" {hit.delay_ms} ms late by {hit.fault}"
        elif hit.spoils in ("duplicate", "reorder"):
            text += f" {hit.spoils} by {hit.fault}"
    arrived = message.fate == "received"
    at = (message.received if arrived else None) or message.sent
    lost = "" if arrived else fate_text(message)
    return _Arrow(message.lamport if at is None else at.lamport, message.sender, message.receiver, text, lost)


def _label(message: Message) -> str:
    number = f"#{message.id.rpartition(':')[2]}"
    if message.on == "reply":
        late = " (late)" if message.late else ""
        return f"{number} {message.failure or 'done'}{late}"
    if message.ban_of:
        return f"{number} {'unban' if message.unban else 'ban'}"
    return f"{number} {message.action}"


class _Page:
    """Lines of text with a bar for each lane."""

    def __init__(self, nodes: Sequence[str], lane: int) -> None:
        self._place = {node: _TIME_WIDTH + at * lane for at, node in enumerate(nodes)}
        self._width = _TIME_WIDTH + len(nodes) * lane
        self._lane = lane
        self._lines = [self._blank(" ")]
        for node, place in self._place.items():
            _put(self._lines[0], place, node[: lane - 1])

    def add(self, row: _Row) -> None:
        """One more row."""
        if isinstance(row, _Note):
            self._note(row)
        else:
            self._arrow(row)

    def text(self) -> str:
        """All lines."""
        return "\n".join("".join(line).rstrip() for line in self._lines)

    def _blank(self, bar: str = "│") -> list[str]:
        line = [" "] * self._width
        for place in self._place.values():
            line[place] = bar
        return line

    def _note(self, note: _Note) -> None:
        mark, _, text = note.text.partition(" ")
        place = self._place[note.node]
        pieces = wrapped(text, self._lane - 3) or [""]
        for at, piece in enumerate(pieces):
            line = self._blank()
            if at == 0:
                _put(line, 0, f"{note.lamport:>{_TIME_WIDTH - 2}}")
                line[place] = mark
            _put(line, place + 2, piece)
            self._lines.append(line)

    def _arrow(self, arrow: _Arrow) -> None:
        line = self._blank()
        _put(line, 0, f"{arrow.lamport:>{_TIME_WIDTH - 2}}")
        begin, end = self._place[arrow.sender], self._place[arrow.receiver]
        left, right = min(begin, end), max(begin, end)
        line[left + 1 : right] = "─" * (right - left - 1)
        line[begin] = "├" if begin < end else "┤"
        line[end] = "▶" if begin < end else "◀"
        if arrow.lost:
            line[end] = "│"
            line[end - 1 if begin < end else end + 1] = "✗"
        room = right - left - 5
        _put(line, left + 2 + (begin > end), _cut(f" {arrow.text} ", room))
        self._lines.append(line)
        for piece in wrapped(arrow.lost, self._lane - 4):
            line = self._blank()
            _put(line, left + 3, piece)
            self._lines.append(line)


def _put(line: list[str], at: int, text: str) -> None:
    line[at : at + len(text)] = text


def _cut(text: str, room: int) -> str:
    if len(text) <= room:
        return text
    # Behind a part of an action's name, if that leaves most of it.
    cut = text[: room - 2]
    part = max(cut.rfind("/"), cut.rfind(":")) + 1
    return f"{cut[:part] if 2 * part > room else cut}… "


def wrapped(text: str, width: int) -> list[str]:
    """Lines that are no longer than `width`. Words that are longer are broken behind `/` and `:` if that can be."""
    lines = [""]
    for word in text.split():
        space = " " if lines[-1] else ""
        for part in [word] if len(word) <= width else re.findall(r"[^/:]*[/:]|[^/:]+", word):
            if len(lines[-1]) + len(space) + len(part) <= width:
                lines[-1] += space + part
            else:
                lines += [part[at : at + width] for at in range(0, len(part), width)]
            space = ""
    return [line for line in lines if line]
