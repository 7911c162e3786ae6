"""Proves what the journal of a cluster of real processes says, in Python and on the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from taskfan.cluster import Cluster
from taskfan.cluster.cli import cli
from taskfan.cluster.journal_view import Message
from taskfan.cluster.merged_journal import MergedJournal
from taskfan.cluster.state_directory import StateDirectory
from taskfan.node.journal import FaultHit, JournalOpened, ReplyReceived, RequestReceived, StateApplied
from tests.cluster.commands import process_of
from tests.cluster.processes import wait_until

LISTS_OF_NODES = "cluster:monitor/tasks/lists[n]"
SEARCH = "test:search"
ONE, TWO, THREE = "opensearch-node1", "opensearch-node2", "opensearch-node3"
PLAN: dict[str, Any] = {
    "action": SEARCH,
    "cancellable": True,
    "duration": "1h",
    "children": [{"action": f"{SEARCH}[n]", "nodes": "*", "cancellable": True, "duration": "1h"}],
}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=3, journal=True) as cluster:
        yield cluster


def check(journal: MergedJournal) -> None:
    """Times go up on each node; no message is received before it was sent, nor twice."""
    for name in (ONE, TWO, THREE):
        times = [entry.lamport for entry in journal if entry.node == name]
        assert times
        assert times == sorted(set(times))
    for message in journal.messages():
        if message.sent is not None and message.received is not None:
            assert message.sent.lamport < message.received.lamport
    received = Counter(
        (entry.kind, entry.event.message)
        for entry in journal
        if isinstance(entry.event, RequestReceived | ReplyReceived)
    )
    assert set(received.values()) == {1}


def between(messages: list[Message]) -> list[str]:
    return sorted(f"{message.on} {message.sender} {message.receiver} {message.fate}" for message in messages)


def test_a_list_asks_every_other_node_once(cluster: Cluster) -> None:
    known = {message.id for message in cluster.journal(action=LISTS_OF_NODES).messages()}
    cluster.list_tasks(node=cluster.nodes[0])
    journal = cluster.journal(action=LISTS_OF_NODES)
    assert between([message for message in journal.messages() if message.id not in known]) == [
        f"reply {TWO} {ONE} received",
        f"reply {THREE} {ONE} received",
        f"request {ONE} {TWO} received",
        f"request {ONE} {THREE} received",
    ]
    check(cluster.journal())


def test_a_cancel_shows_its_bans_and_its_diagram(cluster: Cluster) -> None:
    task = cluster.start_work(PLAN, node=cluster.nodes[0])
    wait_until(lambda: len(cluster.list_tasks(actions=f"{SEARCH}[n]")["nodes"]) == 3, "children run everywhere")
    cluster.cancel_tasks(task, wait_for_completion=True)
    wait_until(lambda: len(cluster.journal(task, kind="ban_removed")) == 3, "bans are removed")

    journal = cluster.journal(task)
    kinds = Counter(entry.kind for entry in journal)
    # The parent and a child on each node; bans on each node, this one included.
    assert [kinds[kind] for kind in ("task_registered", "task_cancelled", "task_ended")] == [4, 4, 4]
    assert [kinds[kind] for kind in ("ban_set", "ban_removed")] == [3, 3]
    assert {message.fate for message in journal.messages()} == {"received"}
    assert len(journal.messages()) == 2 * (2 + 2 + 2)
    drawn = journal.diagram(task, width=160)
    assert drawn.count("cancelled: by user request") == 4
    assert [drawn.count(f" {word} ─") for word in ("ban", "unban")] == [2, 2]
    check(cluster.journal())


def test_a_fault_is_told_with_the_message_that_it_dropped(cluster: Cluster) -> None:
    with cluster.faults.drop(LISTS_OF_NODES, to=THREE, on="reply", first=1) as fault:
        cluster.list_tasks(node=cluster.nodes[0], timeout="200ms")
        journal = cluster.journal()
        hits = [entry.event for entry in journal if isinstance(entry.event, FaultHit)]
        assert [(hit.fault, hit.spoils, hit.on) for hit in hits] == [(fault.id, "drop", "reply")]
        request, reply = [message for message in journal.messages() if message.id == hits[0].message]
        assert (request.sender, request.receiver, request.fate) == (ONE, THREE, "received")
        assert (reply.sender, reply.receiver, reply.fate, reply.by) == (THREE, ONE, "dropped", fault.id)
        assert f"dropped by fault {fault.id}" in journal.table()


def test_a_killed_node_leaves_what_it_wrote_and_the_others_tell_the_rest(cluster: Cluster) -> None:
    task = cluster.start_work(PLAN, node=cluster.nodes[0])
    wait_until(lambda: len(cluster.list_tasks(actions=f"{SEARCH}[n]")["nodes"]) == 3, "children run everywhere")
    third = cluster.nodes[2]
    last = cluster.journal(node=THREE).entries[-1].lamport
    third.kill()
    third.start()
    wait_until(lambda: cluster.journal(node=ONE, kind="link_closed").entries, "the end of the link is noted")

    journal = cluster.journal()
    opened = [entry for entry in journal if entry.node == THREE and isinstance(entry.event, JournalOpened)]
    assert len({entry.event.incarnation for entry in opened if isinstance(entry.event, JournalOpened)}) == 2
    assert opened[1].lamport > last, "what the new process notes comes after what the old one did"
    left = [entry.event for entry in journal if entry.node == ONE and isinstance(entry.event, StateApplied)]
    assert any(third.id in event.removed for event in left)
    # Its child was never answered, and no reply was ever sent: the request was received, and that is all.
    told = [message for message in cluster.journal(task).messages() if THREE in (message.sender, message.receiver)]
    assert between(told) == [f"request {ONE} {THREE} received"]
    check(journal)


def test_a_journal_is_switched_while_nodes_run_and_nodes_that_start_later_know(cluster: Cluster) -> None:
    cluster.switch_journal(False)
    count = len(cluster.journal())
    cluster.list_tasks()
    assert len(cluster.journal()) == count
    assert [entry.kind for entry in cluster.journal(node=TWO)][-1] == "journal_closed"
    cluster.switch_journal(True, node=TWO)
    cluster.nodes[1].restart()
    opened = [entry.lamport for entry in cluster.journal(node=TWO, kind="journal_opened")]
    assert len(opened) == 3
    assert len(cluster.journal(node=THREE, kind="journal_opened")) == 1


def test_without_a_journal_nothing_is_written() -> None:
    with Cluster(nodes=1) as cluster:
        cluster.list_tasks()
        assert len(cluster.journal()) == 0
        assert not (cluster.directory / "journal").exists()
        with pytest.raises(Exception, match="No node is named"):
            cluster.switch_journal(True, node="nobody")


# ---------------------------------------------------------------------- what people type

NAME = f"journal-{os.getpid()}"


def run(*words: str) -> Result:
    return CliRunner(env={"COLUMNS": "120"}).invoke(cli, list(words), prog_name="taskfan")


@pytest.fixture
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("OPENSEARCH_URL", raising=False)


@pytest.fixture
def named(state_home: None) -> Iterator[str]:
    started = run("up", "-n", "2", "--any-port", "--journal", "--name", NAME)
    assert started.exit_code == 0, started.output
    yield NAME
    run("down", "--name", NAME)


def test_the_command_shows_filters_draws_and_switches(named: str) -> None:
    task = run("work", "stubborn_children", "--name", named).output.strip()
    run("cancel", task, "--name", named)

    def bans() -> list[dict[str, Any]]:
        told = run("journal", "--name", named, "--task", task, "--kind", "ban_set", "--json").stdout
        return [json.loads(line) for line in told.splitlines()]

    wait_until(lambda: len(bans()) == 2, "both nodes are banned")
    assert [(ban["kind"], ban["parent"]) for ban in bans()] == [("ban_set", task)] * 2
    number = task.rpartition(":")[2]
    table = run("journal", "--name", named, "--task", task, "--kind", "task_cancelled", "--node", ONE).output
    assert f"{ONE}:{number} indices:data/read/msearch: by user request" in table
    drawn = run("journal", "--name", named, "--task", task, "--diagram").output
    assert drawn.splitlines()[0].split() == [ONE, TWO]
    assert f"✗ {number} cancelled: by user request" in drawn

    timed = run("journal", "--name", named, "--task", task, "--kind", "ban_set", "--time").output
    assert all(re.match(r" *\d+  \d\d:\d\d:\d\d,\d{3}  opensearch-node", line) for line in timed.splitlines())

    assert run("journal", "--off", "--node", "*1,*2", "--name", named).output == "Journals are off: 2 nodes.\n"
    before = run("journal", "--json", "--name", named).output
    run("tasks", "--name", named)
    assert run("journal", "--json", "--name", named).output == before
    run("down", "--name", named)
    assert run("journal", "--json", "--name", named).output == before, "it can be read after the end"


def test_the_command_says_what_is_missing(state_home: None) -> None:
    nothing = run("journal", "--name", NAME)
    assert (nothing.exit_code, nothing.output) == (
        1,
        f"Error: Cluster [{NAME}] has no journal: `taskfan journal --on` begins one.\n",
    )
    assert "does not run" in run("journal", "--on", "--name", NAME).output
    assert "--diagram needs --task" in run("journal", "--diagram", "--name", NAME).output
    drawn_on = run("journal", "--diagram", "--task", "a:1", "--follow", "--node", "*", "--name", NAME)
    assert drawn_on.exit_code == 2
    assert "it does not go with --node and --follow." in drawn_on.output


def test_what_matches_nothing_is_said_and_what_cannot_match_is_refused(named: str) -> None:
    nothing = run("journal", "--task", "nosuch:1", "--name", named)
    assert (nothing.exit_code, nothing.stdout, nothing.stderr) == (0, "", "No entry matches.\n")
    assert run("journal", "--kind", "fault_hit,task_*", "--node", "*2", "--name", named).exit_code == 0
    for option, pattern, says in (
        ("--kind", "ban_set,foo", "--kind: no kind of event is called [foo]: there are journal_opened, "),
        ("--task", "nosuch", "--task is a task id, which `taskfan tasks` shows beside its action; not [nosuch]."),
        ("--node", "nosuch", f"--node: no node is called [nosuch]: there are {ONE}, {TWO}."),
    ):
        refused = run("journal", option, pattern, "--name", named)
        assert (refused.exit_code, says in refused.output) == (2, True), refused.output


def test_a_journal_that_cannot_be_written_is_told_when_it_is_switched_on(state_home: None) -> None:
    assert run("up", "-n", "1", "--any-port", "--name", NAME).exit_code == 0
    try:
        StateDirectory.named(NAME).path.joinpath("journal").write_text("in the way")
        refused = run("journal", "--on", "--name", NAME)
    finally:
        run("down", "--name", NAME)
    assert refused.exit_code == 1
    assert f"The journal of {ONE} cannot be written: File exists." in refused.output


def test_what_happens_is_followed(named: str) -> None:
    command = [sys.executable, "-m", "taskfan.cluster.cli", "journal", "--name", named, "-f", "--json"]
    command += ["--kind", "task_registered", "--action", "indices:data/read/msearch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as following:
        try:
            assert following.stdout is not None
            task = run("work", "stubborn_children", "--name", named).output.strip()
            # The end of the whole run bounds this wait.
            assert json.loads(following.stdout.readline())["task"] == task
        finally:
            following.kill()


def test_who_follows_what_is_not_there_yet_is_told_so(state_home: None) -> None:
    command = [sys.executable, "-m", "taskfan.cluster.cli", "journal", "--name", NAME, "--follow"]
    with process_of(command, stderr=subprocess.PIPE) as following:
        assert following.stderr is not None
        told = following.stderr.readline()
    assert told == f"Cluster [{NAME}] has no journal: `taskfan journal --on` begins one. Waiting for it.\n"
