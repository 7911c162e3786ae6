"""Several task registries and the messages between them, where each message moves only when a test says so.

A request is a child, a ban or an unban. It is on its way, then running, then replying; or it is lost. Each change
of the network is a method; what follows from it is written to `log`, and checked there and then by `Watch`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from taskfan.node.cancellation import CancelDone, Effect, SendBan, SendUnban, StopTask
from taskfan.node.errors import NodeDisconnected, NodeNotConnected, Rejected, TaskCancelled, TaskfanError
from taskfan.node.ids import UNSET, TaskId
from taskfan.node.registry import ChildToken, TaskRegistry
from taskfan.node.task import Task, TaskTraits
from tests.node.watch import Watch

CANCELLABLE = TaskTraits(cancellable=True)
LEAF = TaskTraits(cancellable=True, cancels_children=False)
PLAIN = TaskTraits()
KINDS = {"": CANCELLABLE, "leaf": LEAF, "plain": PLAIN}


@dataclass(eq=False)
class Request:
    """One request from a node to another, or to itself.

    `about` is the child's name, or the parent's whom the ban concerns. `open` means that the sender waits.
    """

    kind: Literal["child", "ban", "unban"]
    sender: str
    to: str
    about: str
    state: Literal["on its way", "running", "replying", "lost", "gone"] = "on its way"
    open: bool = True
    failure: TaskfanError | None = None
    traits: TaskTraits = CANCELLABLE
    parent: Task | None = None
    token: ChildToken | None = None
    ban: SendBan | None = None
    unban: SendUnban | None = None

    @property
    def text(self) -> str:
        """The message as a test names it: `A>B child c`, and its reply `B>A reply child c`."""
        if self.state == "replying":
            return f"{self.to}>{self.sender} reply {self.kind} {self.about}"
        return f"{self.sender}>{self.to} {self.kind} {self.about}"


@dataclass(eq=False)
class Caller:
    """Who cancels; `told` holds one entry for each time that somebody told it."""

    name: str
    task: Task
    wait: bool
    # Whether the task still ran when it was cancelled.
    ran: bool
    told: list[TaskfanError | None] = field(default_factory=list)


class FakeNetwork:
    """Nodes that all know one another at the start."""

    def __init__(self, *nodes: str) -> None:
        self.registries = {node: TaskRegistry(node) for node in nodes}
        self.known = {node: list(nodes) for node in nodes}
        self.requests: list[Request] = []
        self.tasks: dict[str, Task] = {}
        self.callers: list[Caller] = []
        self.came_by: dict[str, Request] = {}
        self.log: list[str] = []
        self.now_ms = 0
        self.watch = Watch(self)

    # ------------------------------------------------------------------ what tests see

    @property
    def movable(self) -> list[Request]:
        """What can be delivered or lost now."""
        return [request for request in self.requests if request.state in ("on its way", "replying")]

    @property
    def running(self) -> list[str]:
        """Names of the tasks that run."""
        return [name for name, task in self.tasks.items() if self.runs(task)]

    def runs(self, task: Task) -> bool:
        """Whether the task is registered."""
        registry = self.registries.get(task.id.node_id)
        return registry is not None and registry.get(task.id.number) is task

    def name_of(self, task: Task) -> str:
        """The name a test gave it."""
        return next(name for name, known in self.tasks.items() if known is task)

    def name_at(self, task_id: TaskId) -> str:
        """The name of the task of that id."""
        return next(name for name, task in self.tasks.items() if task.id == task_id)

    def find(self, text: str) -> Request:
        """The first message of that text."""
        found = [request for request in self.movable if request.text == text]
        assert found, f"no message [{text}] among {[request.text for request in self.movable]}"
        return found[0]

    # ------------------------------------------------------------------ what tests do

    def start(self, name: str, on: str, traits: TaskTraits = CANCELLABLE) -> None:
        """Begin a task that has no parent."""
        self.tasks[name] = self._register(name, on, traits, None)

    def send(self, name: str, of: str, to: str, traits: TaskTraits = CANCELLABLE) -> bool:
        """Send a child; False when the parent's gate is closed, which is logged with the words."""
        parent = self.tasks[of]
        sender = parent.id.node_id
        try:
            token = self.registries[sender].child_started(parent, to)
        except TaskCancelled as error:
            self._say(f"{name} is not sent: {error.reason}")
            self.watch.gate_was_closed(parent)
            return False
        self.watch.gate_was_open(parent)
        self._add(Request("child", sender, to, name, traits=traits, parent=parent, token=token))
        return True

    def deliver(self, request: Request) -> None:
        """Let a message arrive."""
        if request.state == "replying":
            request.state = "gone"
            self._answer(request, request.failure)
        elif request.to not in self.registries:
            request.state = "gone"
            self._answer(request, NodeNotConnected(request.to, ""))
        else:
            request.state = "running"
            {"child": self._child_arrives, "ban": self._ban_arrives, "unban": self._unban_arrives}[request.kind](
                request
            )

    def lose(self, request: Request) -> None:
        """Drop a message; its sender waits until the link closes."""
        assert request.sender != request.to, "a node does not lose what it tells itself"
        request.state = "lost"

    def refuse(self, request: Request) -> None:
        """Answer a message with a failure instead of delivering it, as a full queue does; the link lives on."""
        self._say(f"{request.kind} {request.about} fails: rejected")
        request.state = "gone"
        self._answer(request, Rejected("full"))

    def end(self, name: str) -> None:
        """End a task; its reply is on its way."""
        task = self.tasks[name]
        node = task.id.node_id
        effects = self.registries[node].unregister(task)
        self._say(f"{name} ends")
        self._carry_out(node, effects)
        if name in self.came_by:
            self._reply(self.came_by.pop(name), None)

    def cancel(self, name: str, caller: str, *, wait: bool = False, reason: str = "by user request") -> Caller:
        """Cancel a task on its node."""
        task = self.tasks[name]
        who = Caller(caller, task, wait, self.runs(task))
        self.callers.append(who)
        self._cancel(task, reason, wait, who)
        return who

    def give_up(self, name: str) -> None:
        """The parent waited for this child long enough; the child does not notice."""
        request = next(r for r in self.requests if r.kind == "child" and r.about == name and r.open)
        self._say(f"{name} is given up")
        self._answer(request, None)

    def close(self, sender: str, to: str) -> None:
        """The link from `sender` to `to` ends: what waits on it fails, what came over it is cancelled."""
        assert sender != to
        over_it = [request for request in self.requests if (request.sender, request.to) == (sender, to)]
        for request in over_it:
            request.state = "gone"
        for request in over_it:
            if request.open and request.kind != "unban":
                self._say(f"{request.kind} {request.about} fails: disconnected")
            self._answer(request, NodeDisconnected(to, "", request.kind))
        came = [name for name, request in self.came_by.items() if (request.sender, request.to) == (sender, to)]
        for name in came:
            del self.came_by[name]
            if self.tasks[name].cancellable:
                self._cancel(self.tasks[name], "channel was closed", False, None)

    def forget(self, node: str, by: str) -> None:
        """`node` leaves the cluster state that `by` sees."""
        self.known[by].remove(node)
        self.registries[by].node_left(node)
        self.watch.bans_dropped(by, node)
        self.close(by, node)

    def remember(self, node: str, by: str) -> None:
        """`node` is back in the cluster state that `by` sees."""
        self.known[by].append(node)

    def kill(self, node: str) -> None:
        """The process of a node ends, and the others notice: links first, cluster state then."""
        del self.registries[node]
        for name in [name for name, request in self.came_by.items() if request.to == node]:
            del self.came_by[name]
        self.requests = [request for request in self.requests if request.sender != node]
        self.callers = [caller for caller in self.callers if caller.task.id.node_id != node]
        for other in self.registries:
            self.close(node, other)
            if node in self.known[other]:
                self.forget(node, by=other)

    def settle(self) -> None:
        """Let all happen that still can: messages arrive, tasks end, and links over which something was lost close."""
        while self.movable or self.running or self.requests:
            if self.movable:
                self.deliver(self.movable[0])
            elif self.running:
                self.end(self.running[0])
            else:
                self.close(self.requests[0].sender, self.requests[0].to)
            self.watch.check()
        self.watch.check_at_rest()

    # ------------------------------------------------------------------ what follows

    def _register(self, name: str, on: str, traits: TaskTraits, parent: Task | None) -> Task:
        parent_id = UNSET if parent is None else parent.id
        return self.registries[on].register(name, type="transport", now_ms=0, now_ns=0, traits=traits, parent=parent_id)

    def _child_arrives(self, request: Request) -> None:
        try:
            task = self._register(request.about, request.to, request.traits, request.parent)
        except TaskCancelled as error:
            self._say(f"{request.about} is refused: {error.reason}")
            self.watch.child_refused(request)
            self._reply(request, error)
            return
        self.tasks[request.about] = task
        self.came_by[request.about] = request
        self._say(f"{request.about} starts")
        self.watch.child_started(request)

    def _ban_arrives(self, request: Request) -> None:
        assert request.ban is not None
        self.now_ms += 1
        self.watch.ban_arrives(request)
        effects = self.registries[request.to].set_ban(
            request.ban.parent,
            request.ban.call.reason,
            wait=request.ban.call.wait,
            parent_node_is_known=request.sender in self.known[request.to],
            now_ms=self.now_ms,
            caller=request,
        )
        self._carry_out(request.to, effects)

    def _unban_arrives(self, request: Request) -> None:
        assert request.unban is not None
        self.registries[request.to].remove_ban(request.unban.parent)
        request.state = "gone"
        request.open = False
        self._forget(request)
        self.watch.unban_arrived(request)

    def _cancel(self, task: Task, reason: str, wait: bool, caller: object) -> None:
        self.now_ms += 1
        registry = self.registries[task.id.node_id]
        effects = registry.cancel(task, reason, wait=wait, now_ms=self.now_ms, caller=caller)
        self._carry_out(task.id.node_id, effects)

    def _carry_out(self, node: str, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case StopTask(task, reason):
                    self._say(f"{self.name_of(task)} is cancelled: {reason}")
                    self.watch.stopped(task, reason)
                case SendBan(to, parent):
                    self.watch.ban_sent(node, effect)
                    self._add(Request("ban", node, to, self.name_at(parent), ban=effect))
                case SendUnban(to, parent):
                    self.watch.unban_sent(node, effect)
                    self._add(Request("unban", node, to, self.name_at(parent), unban=effect))
                case CancelDone(Caller() as caller, failure):
                    caller.told.append(failure)
                    self._say(f"{caller.name} is told" + (f": {failure.kind}" if failure else ""))
                    self.watch.told(caller)
                case CancelDone(Request() as request, failure):
                    self.watch.ban_replied(request, failure)
                    self._reply(request, failure)
                case CancelDone(None, _):
                    pass
                case _:
                    raise AssertionError(effect)

    def _reply(self, request: Request, failure: TaskfanError | None) -> None:
        if request.state != "running":
            return
        request.state, request.failure = "replying", failure
        self._say(request.text)

    def _answer(self, request: Request, failure: TaskfanError | None) -> None:
        """The sender hears of its request: once, whatever comes later."""
        self._forget(request)
        if not request.open:
            return
        request.open = False
        if request.unban is not None:
            self.watch.unban_lost(request)
            return
        registry = self.registries[request.sender]
        if request.kind == "child":
            self._carry_out(request.sender, registry.child_ended(request.token))
        elif request.ban is not None:
            self.watch.ban_answered(request, failure)
            self._carry_out(request.sender, registry.ban_answered(request.ban, failure))

    def _add(self, request: Request) -> None:
        self.requests.append(request)
        self._say(request.text)

    def _forget(self, request: Request) -> None:
        if request.state == "gone" and request in self.requests:
            self.requests.remove(request)

    def _say(self, line: str) -> None:
        self.log.append(line)
