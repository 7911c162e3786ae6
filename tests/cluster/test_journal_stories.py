"""Proves what journals read together say of stories in memory: causes come first, and each message has one fate."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskfan.cluster.journal_view import Message, messages_of
from taskfan.cluster.merged_journal import MergedJournal
from taskfan.node.journal import (
    Entry,
    FaultHit,
    LinkClosed,
    ReplyReceived,
    ReplySent,
    RequestReceived,
    RequestRefused,
    RequestSent,
    RequestTimedOut,
    TaskEnded,
    TaskRefused,
    TaskRegistered,
)
from tests.cluster.journaled import JournaledNodes, play
from tests.node.nodes import HOLD, HOLD_PLAIN

# What decides a message, each of them alone.
FINAL = ("drop", "fail", "refuse", "disconnect")


async def fan_out(nodes: JournaledNodes) -> None:
    """p on a, with x on b and y on c; z on c below x."""
    await nodes.root("p")
    await nodes.child("x", of="p", to="b")
    await nodes.child("y", of="p", to="c")
    await nodes.child("z", of="x", to="c")


async def cancelled_fan_out(nodes: JournaledNodes) -> None:
    await fan_out(nodes)
    nodes.nodes["a"].cancel(nodes.contexts["p"].task, "by user", wait=False)
    await nodes.clock.sleep(1)
    for name in "zyxp":
        nodes.end(name)
    await nodes.clock.sleep(1)


def fates(entries: list[Entry], action: str = HOLD) -> list[tuple[str, str, str]]:
    """Of the messages of an action: request or reply, fate, and the fault that did it."""
    return [(m.on, m.fate, m.by) for m in messages_of(entries) if m.action == action]


def shown(message: Message) -> str:
    ban = " unban" if message.unban else " ban"
    return f"{message.sender} {message.receiver} {message.on}{ban * bool(message.ban_of)} {message.fate}"


# ---------------------------------------------------------------------- what must hold of every journal


def check(entries: list[Entry]) -> None:
    """Times go up on each node, causes come before what they cause, and each message has one fate."""
    for node in dict.fromkeys(entry.node for entry in entries):
        times = [entry.lamport for entry in entries if entry.node == node]
        assert times == sorted(set(times)), f"{node} used a time twice, or went back"
    check_causes(entries)
    check_fates(entries)


def check_causes(entries: list[Entry]) -> None:
    sent: dict[tuple[str, str], Entry] = {}
    tasks: dict[str, Entry] = {}
    for entry in entries:
        match entry.event:
            case RequestSent(message=message):
                sent[message, "request"] = entry
            case ReplySent(message=message):
                assert (message, "request") in sent
                sent[message, "reply"] = entry
            case RequestReceived(message=message):
                assert sent[message, "request"].lamport < entry.lamport
                assert sent[message, "request"].node != entry.node
            case ReplyReceived(message=message):
                assert sent[message, "reply"].lamport < entry.lamport
            case TaskRegistered(task=task, parent=parent):
                assert not parent or tasks[parent].lamport < entry.lamport
                tasks[task] = entry
            case TaskEnded(task=task):
                assert tasks[task].lamport < entry.lamport


def check_fates(entries: list[Entry]) -> None:
    """From the lines alone: nothing says two things of one message, and what says nothing lost its link."""
    said: Counter[tuple[str, str]] = Counter()
    silent = {entry.event.link for entry in entries if isinstance(entry.event, LinkClosed)}
    for entry in entries:
        match entry.event:
            case RequestReceived(message=message) | RequestRefused(message=message):
                said[message, "request"] += 1
            case ReplyReceived(message=message):
                said[message, "reply"] += 1
            case FaultHit(message=message, on="request", spoils=spoils) if spoils in FINAL:
                said[message, "request"] += 1
    messages = messages_of(entries)
    assert len({(told.id, told.on) for told in messages}) == len(messages)
    for told in messages:
        count = said[told.id, told.on]
        assert told.fate != "on_its_way", told
        assert count <= 1, told
        if count == 0:
            assert told.fate in ("link_closed", "refused", "dropped"), told
            assert told.link in silent, told
        if told.fate == "received":
            assert (told.sent is not None, told.received is not None, told.by) == (True, True, "")
        if told.by:
            assert told.hits or told.link in silent


# ---------------------------------------------------------------------- stories


def test_a_cancelled_fan_out_is_told_whole(tmp_path: Path) -> None:
    entries = play(tmp_path, cancelled_fan_out)
    check(entries)
    bans = [shown(message) for message in messages_of(entries) if message.ban_of and message.on == "request"]
    a, b, c = "name-of-a", "name-of-b", "name-of-c"
    assert sorted(bans) == [
        f"{a} {b} request ban received",
        f"{a} {b} request unban received",
        f"{a} {c} request ban received",
        f"{a} {c} request unban received",
        f"{b} {c} request ban received",
        f"{b} {c} request unban received",
    ]
    kinds = Counter(entry.kind for entry in MergedJournal(entries, entries).only(task="a:1"))
    # Four tasks; three of them are children; three bans set and removed; nine requests and their replies.
    assert [kinds[kind] for kind in ("task_registered", "task_cancelled", "task_ended")] == [4, 4, 4]
    assert [kinds[kind] for kind in ("ban_set", "ban_removed")] == [3, 3]
    assert [kinds[kind] for kind in ("request_sent", "request_received", "reply_sent", "reply_received")] == [9] * 4


def test_the_same_story_is_written_in_the_same_bytes(tmp_path: Path) -> None:
    written = []
    for run in ("one", "two"):
        play(tmp_path / run, cancelled_fan_out)
        written.append({path.name: path.read_bytes() for path in sorted((tmp_path / run).iterdir())})
    assert list(written[0]) == ["a.jsonl", "b.jsonl", "c.jsonl"]
    assert written[0] == written[1]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"kind": "drop", "on": "request"}, [("request", "dropped", "spoil")]),
        ({"kind": "drop", "on": "reply"}, [("request", "received", ""), ("reply", "dropped", "spoil")]),
        ({"kind": "refuse"}, [("request", "refused", "spoil")]),
        ({"kind": "fail", "on": "request"}, [("request", "refused", "spoil")]),
        ({"kind": "fail", "on": "reply"}, [("request", "received", ""), ("reply", "dropped", "spoil")]),
        (
            {"kind": "fail", "on": "reply", "at_once": True},
            [("request", "received", ""), ("reply", "dropped", "spoil")],
        ),
        ({"kind": "disconnect", "on": "request"}, [("request", "link_closed", "spoil")]),
        ({"kind": "disconnect", "on": "reply"}, [("request", "received", ""), ("reply", "link_closed", "spoil")]),
        ({"kind": "delay", "on": "request", "delay": "50ms"}, [("request", "received", ""), ("reply", "received", "")]),
        ({"kind": "delay", "on": "reply", "delay": "50ms"}, [("request", "received", ""), ("reply", "received", "")]),
        ({"kind": "duplicate"}, [("request", "received", ""), ("reply", "received", "")]),
        ({"kind": "reorder", "on": "request"}, [("request", "received", ""), ("reply", "received", "")]),
        ({"kind": "slow", "bandwidth": "1kb/s"}, [("request", "received", ""), ("reply", "received", "")]),
        ({"kind": "cut"}, [("request", "refused", "")]),
        ({"kind": "blackhole"}, [("request", "refused", "")]),
    ],
    ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_each_fault_gives_its_message_the_fate_that_it_means(
    tmp_path: Path, rule: dict[str, object], expected: list[tuple[str, str, str]]
) -> None:
    async def story(nodes: JournaledNodes) -> None:
        await nodes.root("p")
        nodes.spoil("a", **rule, **({} if rule["kind"] in ("cut", "blackhole", "slow") else {"action": HOLD}))
        nodes.ask("x", of="p", to="b")
        await nodes.clock.sleep(40)
        if "x" in nodes.contexts:
            nodes.end("x")
        await nodes.clock.sleep(1)

    entries = play(tmp_path, story)
    assert fates(entries) == expected
    hits = [entry.event for entry in entries if isinstance(entry.event, FaultHit)]
    # No link is there yet that could be cut, and nothing comes that could overtake.
    if rule["kind"] not in ("cut", "blackhole", "reorder"):
        assert {hit.spoils for hit in hits} == {rule["kind"]}
    if rule["kind"] != "duplicate":
        check(entries)


def test_a_silenced_link_drops_what_is_sent_on_it(tmp_path: Path) -> None:
    async def story(nodes: JournaledNodes) -> None:
        await nodes.root("p")
        await nodes.child("x", of="p", to="b")
        nodes.spoil("a", kind="blackhole", to="name-of-b")
        nodes.ask("y", of="p", to="b")
        await nodes.clock.sleep(60)

    entries = play(tmp_path, story)
    check(entries)
    assert fates(entries) == [
        ("request", "received", ""),
        ("request", "dropped", "spoil"),
        ("reply", "dropped", "spoil"),
    ]


def test_messages_on_a_link_that_breaks_are_overtaken_by_its_end(tmp_path: Path) -> None:
    async def story(nodes: JournaledNodes) -> None:
        await nodes.root("p")
        await nodes.child("x", of="p", to="b", action=HOLD_PLAIN)
        nodes.network.hold("a", "b")
        nodes.ask("y", of="p", to="b")
        nodes.network.cut("a", "b")
        await nodes.clock.sleep(1)
        nodes.ask("z", of="p", to="b")
        await nodes.clock.sleep(1)
        nodes.end("x")

    entries = play(tmp_path, story)
    check(entries)
    assert [(m.on, m.fate, m.reason) for m in messages_of(entries)] == [
        ("request", "received", ""),
        ("request", "link_closed", "broken: connection reset"),
        ("request", "refused", "not connected: Node not connected"),
        ("reply", "link_closed", "broken: connection reset"),
    ]


def test_an_answer_that_comes_after_its_wait_is_late(tmp_path: Path) -> None:
    async def story(nodes: JournaledNodes) -> None:
        await nodes.root("p")
        nodes.ask("x", of="p", to="b", timeout_s=0.5)
        await nodes.clock.sleep(1)
        nodes.end("x")

    entries = play(tmp_path, story)
    check(entries)
    request, reply = messages_of(entries)
    assert (request.fate, request.late, reply.fate, reply.late) == ("received", False, "received", True)
    assert [entry.event.after_ms for entry in entries if isinstance(entry.event, RequestTimedOut)] == [500]


def test_a_child_that_meets_a_ban_is_refused_where_it_would_begin(tmp_path: Path) -> None:
    async def story(nodes: JournaledNodes) -> None:
        parent = await nodes.root("p")
        await nodes.child("x", of="p", to="b")
        # The ban overtakes the child, which waits at the fault.
        nodes.spoil("a", kind="delay", action=HOLD, delay="500ms")
        nodes.ask("y", of="p", to="b")
        await nodes.clock.sleep(0.1)
        nodes.nodes["a"].cancel(parent, "by user", wait=False)
        await nodes.clock.sleep(1)
        nodes.ask("z", of="p", to="b")
        await nodes.clock.sleep(1)

    entries = play(tmp_path, story)
    check(entries)
    refused = [(entry.node, entry.event.reason) for entry in entries if isinstance(entry.event, TaskRefused)]
    assert refused == [
        ("name-of-b", "Task cancelled before it started: by user"),
        ("name-of-a", "The parent task was cancelled, shouldn't start any child tasks, by user"),
    ]


# ---------------------------------------------------------------------- any story

RULES: tuple[dict[str, object], ...] = (
    {"kind": "drop", "on": "request"},
    {"kind": "drop", "on": "reply"},
    {"kind": "refuse"},
    {"kind": "fail", "on": "reply"},
    {"kind": "disconnect", "on": "reply"},
    {"kind": "delay", "on": "request", "delay": "3ms", "jitter": "3ms"},
    {"kind": "reorder", "on": "reply"},
    {"kind": "cut"},
)


async def any_story(nodes: JournaledNodes, seed: int) -> None:
    """Tasks begin, end and are cancelled on all nodes, while links break and faults come and go."""
    chance = random.Random(seed)
    for number in range(30):
        name, on, to = str(number), chance.choice("abc"), chance.choice("abc")
        parents = [known for known, context in nodes.contexts.items() if context.task.id.node_id == on]
        match chance.randrange(8):
            case 0 | 1 | 2 if parents:
                nodes.ask(name, of=chance.choice(parents), to=to, action=chance.choice((HOLD, HOLD_PLAIN)))
            case 3 if parents:
                task = nodes.contexts[chance.choice(parents)].task
                if task.cancellable:
                    nodes.nodes[on].cancel(task, "by chance", wait=chance.random() < 0.5)
            case 4 if nodes._ends:
                nodes.end(chance.choice(list(nodes._ends)))
            case 5 if on != to:
                nodes.network.cut(on, to)
                nodes.network.heal(on, to)
            case 6:
                rule = chance.choice(RULES)
                few = {} if rule["kind"] == "cut" else {"first": 2}
                nodes.spoil(on, **rule, **few)
            case _:
                await nodes.root(name, on=on)
        await nodes.clock.sleep(chance.choice((0, 0.001, 0.01)))


@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_in_any_story_causes_come_first_and_each_message_has_one_fate(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    async def story(nodes: JournaledNodes) -> None:
        await any_story(nodes, seed)

    check(play(tmp_path_factory.mktemp("journal"), story))
