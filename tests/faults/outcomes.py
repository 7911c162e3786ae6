"""What each kind of fault does to each kind of request: one table, played in memory and over real processes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from taskfan.node.faults.decide import NumberedRule
from taskfan.node.faults.rule import read_rule

# Who asks is not the manager: that takes a node out of the cluster as soon as its own link to it ends, and whether a
# request still finds it there would be a race. A link between two others is no concern of the manager's.
MANAGER, ASKING, ASKED = "opensearch-node1", "opensearch-node2", "opensearch-node3"
# Every action name of a story begins with this, so that what is left can be found.
MARK = "outcome"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a spoiled request went.

    Attributes:
        seen: `ok`, or the type of the innermost error that the caller sees.
        ran: whether the other node was reached and ran it.
        answered: `by itself`, or `with the link`: only when the link ended.
    """

    seen: str
    ran: bool
    answered: str = "by itself"


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of fault and what comes of it, for every kind of request alike."""

    name: str
    rule: dict[str, Any]
    outcome: Outcome
    # For those of `LATE`: the answer may not come before this.
    at_least_s: float = 0.0
    # Where this operation differs, and why it must.
    but: tuple[tuple[str, Outcome], ...] = ()


DELAY_S = 0.3
STEP_S = 0.01
# Far more than anything here takes.
DEADLINE_S = 20.0
LOST = Outcome("node_disconnected_exception", ran=False, answered="with the link")
REPLY_LOST = Outcome("node_disconnected_exception", ran=True, answered="with the link")
FINE = Outcome("ok", ran=True)

ROWS = [
    Row("request lost", {"kind": "drop"}, LOST),
    Row("reply lost", {"kind": "drop", "on": "reply"}, REPLY_LOST),
    Row("request fails", {"kind": "fail", "error": {"type": "io_exception"}}, Outcome("io_exception", ran=False)),
    Row(
        "ran, but the caller sees an error",
        {"kind": "fail", "on": "reply", "error": {"type": "io_exception"}},
        Outcome("io_exception", ran=True),
    ),
    Row(
        "ran, but the caller sees an error at once",
        {"kind": "fail", "on": "reply", "at_once": True},
        Outcome("transport_exception", ran=True),
    ),
    Row("request delayed", {"kind": "delay", "delay": "300ms"}, FINE, DELAY_S),
    Row("reply delayed", {"kind": "delay", "on": "reply", "delay": "300ms"}, FINE, DELAY_S),
    Row("rejected", {"kind": "refuse"}, Outcome("rejected_execution_exception", ran=False)),
    Row(
        "connection refused",
        {"kind": "refuse", "how": "not_connected"},
        Outcome("node_not_connected_exception", ran=False),
    ),
    Row(
        "link closed by the request",
        {"kind": "disconnect"},
        Outcome("node_disconnected_exception", ran=False),
        # The child ends with its link, so the unban follows, and that one gets there.
        but=(("ban", Outcome("node_disconnected_exception", ran=True)),),
    ),
    Row(
        "link closed by the reply",
        {"kind": "disconnect", "on": "reply"},
        Outcome("node_disconnected_exception", ran=True),
    ),
    Row("reply twice", {"kind": "duplicate"}, FINE),
    Row("request overtaken", {"kind": "reorder"}, FINE),
    Row("reply overtaken", {"kind": "reorder", "on": "reply"}, FINE),
    Row(
        "link cut",
        {"kind": "cut"},
        Outcome("node_not_connected_exception", ran=False),
        # The child ended with the link: nobody is left over there to ban.
        but=(("ban", Outcome("ok", ran=False)),),
    ),
    Row("black hole", {"kind": "blackhole"}, Outcome("node_disconnected_exception", ran=False)),
    # Not so slow that the checks of the cluster itself come too late.
    Row("slow link", {"kind": "slow", "bandwidth": "20kb"}, FINE, at_least_s=0.005),
]


class Story(Protocol):
    """The three nodes; only `ASKING` obeys rules."""

    # Time in which nothing more would happen: long in memory, where it costs nothing.
    patience_s: float

    def now_s(self) -> float:
        """A clock."""

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Awaitable[dict[str, Any]]:
        """Send a request to `ASKING`, begun at once; the answer's JSON, of an error too."""

    async def set_rules(self, rules: list[NumberedRule]) -> None:
        """Have the nodes obey these."""

    async def hits(self) -> int:
        """How many messages and links were spoiled under the rules that are set."""

    async def ran(self, action: str) -> bool:
        """Whether a task of this action was registered on `ASKED` since the last `set_rules`."""

    def node_id(self, name: str) -> str:
        """The id of a node."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A request that makes `ASKING` send one to `ASKED`."""

    name: str
    # What is spoiled, and what runs there.
    action: str
    runs: str
    # Sends it, and gives what its caller sees.
    perform: Callable[[Story], Awaitable[str]]
    prepare: Callable[[Story], Awaitable[Any]] | None = None


async def _list(story: Story) -> str:
    answer = await story.ask("GET", f"/_tasks?nodes={ASKED}")
    return _first_error(answer.get("node_failures", []))


async def _other(story: Story) -> None:
    """What no rule is about."""
    await story.ask("GET", f"/_nodes/{ASKED}/http")


async def _get(story: Story) -> str:
    answer = await story.ask("GET", f"/_tasks/{story.node_id(ASKED)}:999999999")
    seen = _first_error([answer["error"]])
    # No such task: the answer of a node that was asked and is well.
    return "ok" if seen in ("resource_not_found_exception", "index_not_found_exception") else seen


async def _cancel(story: Story) -> str:
    answer = await story.ask("POST", f"/_tasks/_cancel?nodes={ASKED}&actions={MARK}-none")
    return _first_error(answer.get("node_failures", []))


async def _family(story: Story) -> None:
    """A task on `ASKING` with a child on `ASKED`, both until they are cancelled."""
    child = {"action": f"{MARK}:child", "nodes": ASKED, "duration": "until_cancelled"}
    plan = {"action": f"{MARK}:parent", "duration": "until_cancelled", "children": [child]}
    await story.ask("POST", "/_taskfan/work?wait_for_completion=false", plan)
    while True:
        answer = await story.ask("GET", f"/_tasks?actions={MARK}:*&group_by=none")
        if len(answer["tasks"]) == 2:
            return
        await story.sleep(0.005)


async def _ban(story: Story) -> str:
    answer = await story.ask("POST", f"/_tasks/_cancel?nodes={ASKING}&actions={MARK}:parent")
    return _first_error([*answer.get("node_failures", []), *answer.get("task_failures", [])])


async def _run(story: Story) -> str:
    child = {"action": f"{MARK}:child", "nodes": ASKED}
    plan = {"action": f"{MARK}:parent", "children": [child]}
    answer = await story.ask("POST", "/_taskfan/work?wait_for_completion=true", plan)
    return _first_error([failure["reason"] for failure in answer.get("failures", [])])


OPERATIONS = [
    Operation("list", "cluster:monitor/tasks/lists[n]", "cluster:monitor/tasks/lists[n]", _list),
    Operation("get", "cluster:monitor/task/get", "cluster:monitor/task/get", _get),
    Operation("cancel", "cluster:admin/tasks/cancel[n]", "cluster:admin/tasks/cancel[n]", _cancel),
    Operation("ban", "internal:admin/tasks/ban", "internal:admin/tasks/ban", _ban, _family),
    Operation("run", f"{MARK}:child", f"{MARK}:child", _run),
]


def _first_error(failures: list[dict[str, Any]]) -> str:
    if not failures:
        return "ok"
    error = failures[0].get("reason", failures[0])
    error = error if isinstance(error, dict) else failures[0]
    while "caused_by" in error:
        error = error["caused_by"]
    return str(error["type"])


def rules_of(row: Row, operation: Operation) -> list[NumberedRule]:
    """The rule of a row for the first such request, or for the link."""
    values = {"from": ASKING, "to": ASKED, **row.rule}
    if not read_rule(values).is_of_link:
        values |= {"action": operation.action, "first": 1}
    return [NumberedRule("outcome", 0, read_rule(values))]


async def play(story: Story, row: Row, operation: Operation) -> tuple[Outcome, float]:
    """Let it happen. Gives what came of it, and how long it took in seconds."""
    # Links open on first use: this one is open when the fault comes.
    await _list(story)
    if operation.prepare is not None:
        await operation.prepare(story)
    await story.set_rules(rules_of(row, operation))
    begun_s, answered = story.now_s(), "by itself"
    answer = asyncio.ensure_future(operation.perform(story))
    if row.rule["kind"] == "reorder":
        await _overtake(story)
    if expected(row, operation).answered == "by itself":
        seen = await answer
        took_s = story.now_s() - begun_s
        assert await story.hits(), "the fault touched nothing"
    else:
        while not await story.hits():
            await story.sleep(STEP_S)
    ran = await _ran(story, operation, expected(row, operation).ran)
    if not answer.done():
        answered = "with the link"
        cut = read_rule({"kind": "cut", "from": ASKING, "to": ASKED})
        await story.set_rules([NumberedRule("end", 0, cut)])
        seen = await answer
        took_s = story.now_s() - begun_s
    return Outcome(seen, ran, answered), took_s


async def _overtake(story: Story) -> None:
    """Send other requests the same way, until one has overtaken."""
    while not await story.hits():
        await _other(story)


async def _ran(story: Story, operation: Operation, is_to: bool) -> bool:
    """Whether it ran on the other node, once it has had the time."""
    waited_s = 0.0
    while waited_s < story.patience_s or (is_to and waited_s < DEADLINE_S):
        if await story.ran(operation.runs):
            return True
        await story.sleep(STEP_S)
        waited_s += STEP_S
    return False


def expected(row: Row, operation: Operation) -> Outcome:
    """What is to come of it."""
    return dict(row.but).get(operation.name, row.outcome)
