"""A node as a member of a cluster: carries out what its coordinator decides, with timers and real actions.

Its messages are tasks like any other, without a parent, as they are in OpenSearch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from google.protobuf.message import DecodeError

from taskfan.node.actions.coordination import coordination_actions
from taskfan.node.clock import TimerHandle
from taskfan.node.cluster_state import ClusterState, DiscoveryNode
from taskfan.node.coordination import messages as m
from taskfan.node.coordination.coordinator import Coordinator
from taskfan.node.coordination.effects import (
    Apply,
    CancelTimer,
    ChangeCommitted,
    ChangeDone,
    ChangeFailed,
    Effect,
    Failure,
    Persist,
    Send,
    SetTimer,
    Timer,
)
from taskfan.node.coordination.modes import Mode
from taskfan.node.coordination.state import Persisted
from taskfan.node.coordination.store import StateStore
from taskfan.node.coordination.updates import Change
from taskfan.node.coordination.wire import form_of, read_answer
from taskfan.node.errors import NodeDisconnected, NodeNotConnected, ReceiveTimeout, TaskfanError
from taskfan.node.index.state_changes import reallocated
from taskfan.node.node import Node
from taskfan.node.state_updates import NO_LIMITS, Update, UpdateLimits
from taskfan.node.submission import Submission
from taskfan.node.task_json import human_duration
from taskfan.node.transport import Answer, Ask, Request

log = logging.getLogger("taskfan.node.membership")


class Links(Protocol):
    """The parts of a transport that ask, and that say when a link is gone."""

    ask: Ask

    def on_link_closed(self, listener: Callable[[str, str], None]) -> None:
        """Call it when a link from here has closed or could not be opened: with the other node's id and incarnation."""


class Chance(Protocol):
    """What a timer's time is drawn with: a `random.Random` of a seed."""

    def uniform(self, a: float, b: float, /) -> float:
        """A number of this range."""


class Membership:
    """Joins a node to a cluster, and keeps its cluster state current.

    Make it before the transport starts: then whoever is asked by a node that was quicker can answer. What it
    knows of the cluster before `start` is its own node.
    """

    def __init__(self, node: Node, coordinator: Coordinator, links: Links, chance: Chance, store: StateStore) -> None:
        self._node, self._coordinator, self._links, self._chance, self._store = node, coordinator, links, chance, store
        # The last message that was sent, and its form: a state goes to many nodes and is written once.
        self._last_written: tuple[m.Request, Request] | None = None
        self._is_asking = False
        self._timers: dict[Timer, TimerHandle] = {}
        self._is_closed = False
        # By the number of the change.
        self._submitted: dict[int, Submission] = {}
        self._last_change = 0
        node.state_updates = self
        coordinator.set_follow_up(lambda before, state: reallocated(before, state, node.clock.wall_time_ms()))
        for action in coordination_actions(self._receive):
            node.add_action(action)
        links.on_link_closed(self._link_closed)

    @property
    def mode(self) -> Mode:
        """Whether this node leads, follows or has no manager."""
        return self._coordinator.mode

    def start(
        self,
        seeds: Iterable[DiscoveryNode],
        initial_cluster_manager_nodes: Iterable[str],
        cluster_uuid: str,
        expected_nodes: int = 0,
    ) -> None:
        """Look for the cluster, or begin it: see `Coordinator.start`."""
        initial = initial_cluster_manager_nodes
        self._carry_out(self._coordinator.start(seeds, initial, cluster_uuid, expected_nodes))

    def close(self) -> None:
        """Take no more part. The others notice when the transport closes."""
        self._is_closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for submission in self._submitted.values():
            submission.failed(m.FailedToCommit(f"[{self._node.local.name}] is stopping"))

    async def submit(self, source: str, update: Update, limits: UpdateLimits = NO_LIMITS) -> bool:
        """Make a change of the cluster state, as its manager. See `StateUpdates`."""
        if self._is_closed:
            raise m.NotClusterManager(f"[{self._node.local.name}] is stopping")
        number = self._last_change = self._last_change + 1
        change, clock = Change(number, source, update), self._node.clock
        submission = self._submitted[number] = Submission(clock, limits)
        timer = None
        try:
            self._carry_out(self._coordinator.submit(change))
            if limits.start_s is not None and not submission.answer.done():
                timer = clock.call_later(max(limits.start_s, 0), lambda: self._withdraw(change, limits))
            return await submission.answer
        finally:
            if timer is not None:
                timer.cancel()
            submission.close()
            del self._submitted[number]

    def _withdraw(self, change: Change, limits: UpdateLimits) -> None:
        """It has waited long enough; unless it is under way by now."""
        assert limits.start_s is not None
        if self._coordinator.withdraw(change.number):
            limit = human_duration(round(limits.start_s * 1e9))
            self._submitted[change.number].failed(m.ProcessClusterEventTimeout(change.source, limit))

    def _receive(self, request: m.Request) -> m.Answer:
        """Answer a request of another node. Raises CoordinationRejected."""
        if self._is_closed:
            raise m.CoordinationRejected(f"[{self._node.local.name}] is stopping")
        outcome = self._coordinator.receive(request)
        self._carry_out(outcome.effects)
        answer = outcome.answer
        if not isinstance(answer, m.CoordinationRejected):
            return answer
        try:
            raise answer
        finally:
            # It holds this frame now, which is not to hold it.
            del answer, outcome

    def _link_closed(self, node_id: str, ephemeral_id: str) -> None:
        # On its own, because the transport is in the midst of letting go of the link.
        self._node.clock.call_later(0, lambda: self._lost(node_id, ephemeral_id))

    def _lost(self, node_id: str, ephemeral_id: str) -> None:
        if not self._is_closed:
            self._carry_out(self._coordinator.link_closed(node_id, ephemeral_id))

    # ------------------------------------------------------------------ effects

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        """Do what the pure part decided, at once and in order."""
        for effect in effects:
            match effect:
                case Send():
                    self._bring(effect)
                case SetTimer():
                    self._set_timer(effect)
                case Persist(term, accepted):
                    try:
                        self._store.save(Persisted(term, accepted))
                    except OSError as error:
                        # Only this node's next process needs it; the rest, timers first, must not be left undone.
                        log.error("the cluster state cannot be saved: %s", error)
                case Apply(state):
                    self._apply(state)
                case CancelTimer(timer):
                    self._cancel_timer(timer)
                case ChangeCommitted(number):
                    if (submission := self._submitted.get(number)) is not None:
                        submission.committed()
                case ChangeDone(number, is_applied_by_all):
                    if (submission := self._submitted.get(number)) is not None:
                        submission.done(is_applied_by_all=is_applied_by_all)
                case ChangeFailed(number, error):
                    if (submission := self._submitted.get(number)) is not None:
                        submission.failed(error)

    def _apply(self, state: ClusterState) -> None:
        before = self._node.cluster_state
        if state.manager_id != before.manager_id:
            name = "none" if state.manager is None else state.manager.name
            log.info("cluster manager is [%s], term: %d, version: %d", name, state.term, state.version)
        for what, one, other in (("added", state, before), ("removed", before, state)):
            known = {node.ephemeral_id for node in other}
            names = [node.name for node in one if node.ephemeral_id not in known]
            if names:
                log.info("%s {%s}, term: %d, version: %d", what, ", ".join(names), state.term, state.version)
        self._node.apply_cluster_state(state)

    def _set_timer(self, effect: SetTimer) -> None:
        timer, wait_ms = effect.timer, effect.min_ms
        if (before := self._timers.get(timer)) is not None:
            before.cancel()
        if effect.max_ms != wait_ms:
            wait_ms = self._chance.uniform(wait_ms, effect.max_ms)
        self._timers[timer] = self._node.clock.call_later(wait_ms / 1000, partial(self._fire, timer))

    def _cancel_timer(self, timer: Timer) -> None:
        if (handle := self._timers.pop(timer, None)) is not None:
            handle.cancel()

    def _fire(self, timer: Timer) -> None:
        del self._timers[timer]
        self._carry_out(self._coordinator.timer_fired(timer))

    def _bring(self, sent: Send) -> None:
        """Ask, without a task that would wait: what comes of it is the coordinator's to take."""
        take, timeout_s = partial(self._take, sent), sent.timeout_ms / 1000
        self._is_asking = True
        self._links.ask(sent.to, self._written(sent.request), take, timeout_s=timeout_s)
        self._is_asking = False

    def _written(self, request: m.Request) -> Request:
        """The request as it travels."""
        if self._last_written is None or self._last_written[0] is not request:
            form = form_of(request)
            self._last_written = request, Request(form.action, form.to_wire(request).SerializeToString())
        return self._last_written[1]

    def _take(self, sent: Send, answer: Answer) -> None:
        if self._is_asking:
            # It was turned away at once, amid effects that come before what follows from that.
            self._node.clock.call_later(0, partial(self._take, sent, answer))
        elif self._is_closed:
            pass
        elif isinstance(answer, TaskfanError):
            self._carry_out(self._coordinator.failed(sent, _failure_of(sent, answer)))
        else:
            try:
                read = read_answer(sent.request, answer)
            except DecodeError:
                log.warning("[%s] was answered by what is no answer to it", form_of(sent.request).action)
                self._carry_out(self._coordinator.failed(sent, Failure.REJECTED))
            else:
                self._carry_out(self._coordinator.answered(sent, read))


def _failure_of(sent: Send, error: TaskfanError) -> Failure:
    if isinstance(error, NodeNotConnected | NodeDisconnected):
        # Our own link failed; one that failed over there comes as a plain TaskfanError.
        return Failure.DISCONNECTED
    if isinstance(error, ReceiveTimeout):
        return Failure.TIMED_OUT
    log.debug("[%s] to [%s] was refused: %s", form_of(sent.request).action, sent.to.name, error)
    return Failure.REJECTED
