"""Nodes of `tests.node.nodes` that keep journals in files and obey fault rules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from taskfan.cluster.journal_files import read_journal
from taskfan.cluster.journal_view import merge
from taskfan.node.clock import VirtualTimeLoop
from taskfan.node.faults.decide import NumberedRule
from taskfan.node.faults.faulty_transport import FaultyTransport
from taskfan.node.faults.rule import read_rule
from taskfan.node.file_journal import FileJournal
from taskfan.node.journal import Entry
from taskfan.node.lamport import LamportClock
from taskfan.node.node import Node
from tests.node.nodes import Nodes


class JournaledNodes(Nodes):
    """Nodes a, b and c with a journal each, in `directory`."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        self.journals: dict[str, FileJournal] = {}
        self.faults: dict[str, FaultyTransport] = {}
        for name, member in self.members.items():
            lamport = LamportClock()
            path = directory / f"{name}.jsonl"
            journal = FileJournal(path, member.name, member.id, member.ephemeral_id, self.clock, lamport)
            journal.switch(True)
            self.journals[name] = journal
            self.transports[name] = self.network.transport(member, lamport=lamport, journal=journal)
            self.faults[name] = faulty = FaultyTransport(self.transports[name])
            faulty.introduce(member)
            self.nodes[name] = Node(member, self.state, self.clock, faulty, journal=journal)

    def spoil(self, node: str, /, **rule: object) -> None:
        """Let a node obey this one fault rule, and no other."""
        self.faults[node].set_rules([NumberedRule("spoil", 0, read_rule(rule))])

    async def close(self) -> None:
        await super().close()
        for journal in self.journals.values():
            journal.switch(False)

    def entries(self) -> list[Entry]:
        """What all have written so far, merged."""
        for journal in self.journals.values():
            journal.flush()
        return list(merge([read_journal(self.directory / f"{name}.jsonl") for name in self.journals]))


def play(directory: Path, story: Callable[[JournaledNodes], Awaitable[None]]) -> list[Entry]:
    """Run a story on new nodes, let every task end, close all, and give the merged journal."""
    loop = VirtualTimeLoop()
    nodes = None

    async def run() -> list[Entry]:
        nonlocal nodes
        nodes = JournaledNodes(directory)
        await nodes.start()
        try:
            await story(nodes)
            for name in nodes.faults:
                nodes.faults[name].set_rules([])
            await nodes.end_all()
        finally:
            await nodes.close()
            assert nodes.bugs == []
        return nodes.entries()

    try:
        return loop.run_until_complete(run())
    finally:
        loop.close()
