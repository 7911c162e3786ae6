"""`MergedJournal`: what happened on all nodes, as Python and tests read it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from taskfan.cluster.journal_diagram import diagram
from taskfan.cluster.journal_text import Texts, table_line
from taskfan.cluster.journal_view import Filter, Message, messages_of, names_of, without_routine
from taskfan.node.journal import Entry


class MergedJournal(msgspec.Struct, frozen=True):
    """Entries in Lamport order: what was caused comes after its cause, on whatever nodes they happened.

    `entries` are those that are wanted, `everything` is all that was read: what became of a message shows there.
    """

    entries: Sequence[Entry]
    everything: Sequence[Entry]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __str__(self) -> str:
        return self.table()

    def only(self, task: str = "", action: str = "", node: str = "", kind: str = "") -> MergedJournal:
        """The entries that pass a `Filter`."""
        wanted = Filter(task, action, node, kind)
        passing = {id(entry) for entry in self.everything if wanted.passes(entry)}
        return MergedJournal([entry for entry in self.entries if id(entry) in passing], self.everything)

    def without_routine(self, opaque_id: str = "") -> MergedJournal:
        """Without the checks of nodes on one another that went well, and what was asked under that `X-Opaque-Id`."""
        return MergedJournal(without_routine(self.entries, opaque_id), self.everything)

    def messages(self) -> list[Message]:
        """The messages that these entries are about, requests and replies, each with its one fate."""
        ids = {getattr(entry.event, "message", "") for entry in self.entries}
        return [message for message in messages_of(self.everything) if message.id in ids]

    def diagram(self, task: str, width: int = 120) -> str:
        """A task and what descends from it as a sequence diagram; empty when nothing is known of it."""
        return diagram(self.everything, task, width)

    def table(self, *, with_time: bool = False) -> str:
        """A line for each entry: Lamport time, node, kind, and what happened; of what was sent, what became of it.

        Args:
            with_time: whether the time of day, UTC, stands behind the Lamport time.
        """
        texts = Texts(names_of(self.everything), messages_of(self.everything))
        width = max((len(entry.node) for entry in self.entries), default=0)
        return "\n".join(table_line(entry, texts, width, with_time=with_time) for entry in self.entries)
