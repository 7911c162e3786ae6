"""Plans of simulated work: what users write, what nodes carry out, and what is drawn and placed by it. Pure.

`TaskPlan` is the user's form; `work_check.plan_work` makes it a `PlannedTask`, with times in nanoseconds and node
filters as node ids.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any, Literal

import msgspec

from taskfan.node.errors import TaskfanError
from taskfan.node.task import TaskTraits

# The action that carries out plans, whatever name its tasks are shown under.
WORK_ACTION = "taskfan:work"
MAX_TASKS = 100_000
MAX_DEPTH = 20
MAX_PLAN_BYTES = 1 << 20
MAX_ACTION_LENGTH = 256
# The longest that anything in a plan may take; `until_cancelled` ends after it too.
MAX_DURATION = "1d"
MAX_DURATION_NS = 86_400_000_000_000
UNTIL_CANCELLED = "until_cancelled"

OnCancel = Literal["stops", "stops_late", "ignores", "fails"]
Outcome = Literal["success", "failure"]
OnChildFailure = Literal["carries_on", "fails"]
Via = Literal["send", "execute"]
# At least and at most, in nanoseconds; drawn when the task begins.
Span = tuple[int, int]


class Range(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Somewhere between two time values, both included."""

    min: str
    max: str


class Failure(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """The error of a task that fails, as its parent and the user see it."""

    type: str = "illegal_state_exception"
    reason: str = "simulated failure"
    status: int = 500

    def to_error(self) -> TaskfanError:
        """The error to raise."""
        error = TaskfanError(self.reason)
        error.kind, error.http_status = self.type, self.status
        return error


class TaskPlan(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One task as a user writes it, with its children.

    Attributes:
        action: the name under which the task is listed; any text.
        description: shown in detailed lists. `{n}` becomes the number of the copy, from 0; in a task that is
            one of a kind, that of its parent.
        cancellable: whether it may be cancelled.
        cancels_children: whether its cancel descends to its children, as everywhere but in search shards.
        nodes: a node filter (a list, or a text with commas): one task on each node it matches. Without it the
            task runs on its parent's node. `_local` is the node that was asked.
        copies: so many tasks instead, dealt to these nodes in turn.
        except_parent_node: leave out the parent's node and begin with the one after it, as replicas do. Where no
            other node matches, no task runs.
        via: `send`, as to any node; or `execute`, a client call on the parent's own node (type `transport`).
        start_after: a delay, from the start of the parent; in a sequence, from the end of the entry before.
        duration: a time value, a range of two, or `until_cancelled`. The task ends when this time is over and
            all its children have ended. No more than a day.
        sequential: run the entries of `children` one after the other, each with all its copies at once.
        status: the status object of detailed lists.
        on_cancel: `stops`: ends with task_cancelled_exception, as soon as its children have ended, whom the cancel
            reaches too. `stops_late`: the same after `stops_after`. `ignores`: works on. `fails`: ends with
            `failure`.
        outcome: how it ends when nobody cancels it.
        failure: the error of `outcome: failure` and of `on_cancel: fails`.
        on_child_failure: `carries_on`, as a search with some failed shards; or `fails`, as a reindex: starts no
            more children, waits for those that run, and ends with the error of the child.
    """

    action: str
    description: str = ""
    cancellable: bool = True
    cancels_children: bool = True
    nodes: list[str] | str | None = None
    copies: int | None = None
    except_parent_node: bool = False
    via: Via = "send"
    start_after: str | Range = "0s"
    duration: str | Range = "0s"
    sequential: bool = False
    status: dict[str, Any] | None = None
    on_cancel: OnCancel = "stops"
    stops_after: str | Range | None = None
    outcome: Outcome = "success"
    failure: Failure | None = None
    on_child_failure: OnChildFailure = "carries_on"
    children: list[TaskPlan] = []


# Very many tasks may have the same: they share it.
_traits = lru_cache(maxsize=256)(TaskTraits)


class WorkPlan(TaskPlan, kw_only=True):
    """The first task, which runs on the node that is asked, and the seed of all that is drawn."""

    seed: int | None = None


class PlannedTask(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One task as the nodes carry it out; the fields are those of `TaskPlan`. Not to be changed.

    `nodes` are ids, none for the parent's node.
    """

    action: str
    description: str = ""
    cancellable: bool = True
    cancels_children: bool = True
    nodes: tuple[str, ...] = ()
    copies: int | None = None
    except_parent_node: bool = False
    via: Via = "send"
    start_after: Span = (0, 0)
    duration: Span = (0, 0)
    sequential: bool = False
    status: dict[str, Any] | None = None
    on_cancel: OnCancel = "stops"
    stops_after: Span = (0, 0)
    outcome: Outcome = "success"
    failure: Failure = Failure()
    on_child_failure: OnChildFailure = "carries_on"
    children: tuple[PlannedTask, ...] = ()

    def traits(self, copy: int) -> TaskTraits:
        """What its task is registered with."""
        description = self.description.replace("{n}", str(copy))
        return _traits(description, self.cancellable, self.cancels_children)

    def show_status(self) -> bytes:
        """The status object as JSON."""
        return msgspec.json.encode(self.status)

    def nodes_of_copies(self, parent_node_id: str) -> list[str]:
        """The id of the node of each of its copies, when its parent runs on that node."""
        nodes = self.nodes or (parent_node_id,)
        if self.except_parent_node and parent_node_id in nodes:
            place = nodes.index(parent_node_id)
            nodes = nodes[place + 1 :] + nodes[:place]
        if not nodes:
            return []
        copies = len(nodes) if self.copies is None else self.copies
        return [nodes[copy % len(nodes)] for copy in range(copies)]


def draw_ns(span: Span, seed: int, path: str, purpose: str) -> int:
    """A time in the span that depends on nothing but seed, place in the tree and purpose."""
    least, most = span
    if least == most:
        return least
    digest = hashlib.blake2b(f"{seed} {purpose} {path}".encode(), digest_size=8).digest()
    return least + int.from_bytes(digest, "big") % (most - least + 1)


def path_of_copy(parent_path: str, entry: int, copy: int, copies: int) -> str:
    """The place in the tree of a copy of the parent's child `entry`, of which there are `copies`."""
    path = f"{parent_path}.children[{entry}]" if parent_path else f"children[{entry}]"
    return path if copies == 1 else f"{path}.copies[{copy}]"
