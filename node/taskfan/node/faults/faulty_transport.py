"""A transport that obeys fault rules, around any that is made of links; without a rule it is not in the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from taskfan.node.action import wake
from taskfan.node.clock import TimerHandle
from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.faults.decide import Call, Decision, FaultBook, Hit, NumberedRule, RuleState
from taskfan.node.faults.fault_journal import call_refused, faults_set, link_spoiled
from taskfan.node.faults.spoiled_call import Holds, SpoiledCall, refusal_of
from taskfan.node.faults.subject import subject_of
from taskfan.node.link import SendingEnd
from taskfan.node.link_transport import LinkTransport, StreamBroken
from taskfan.node.transport import NOT_ASKED, Answered, Ask, Asked, Receiver, Request, wait_for_answer

if TYPE_CHECKING:
    from taskfan.node.action import Action

OPAQUE_ID = "X-Opaque-Id"


class FaultyTransport:
    """A `Transport`. Until the first rule comes, and after the last has gone, `ask` is that of the inner one.

    The member that asks decides, for requests and replies alike. What a node sends to itself never comes here.

    Args:
        local: the node whose transport it is, once it is known; see `introduce`.
        actions: by name; they tell what a request is about.
    """

    ask: Ask

    def __init__(self, inner: LinkTransport, actions: Mapping[str, Action] | None = None) -> None:
        self._inner, self._clock, self._actions = inner, inner.clock, actions or {}
        self._local: DiscoveryNode | None = None
        self._book = FaultBook()
        self._holds = Holds(inner.clock)
        self._waiting_to_open: list[asyncio.Future[None]] = []
        self._timer: TimerHandle | None = None
        self._is_closed = False
        self.ask = self._bare_ask = inner.ask

    def introduce(self, local: DiscoveryNode) -> None:
        """Say who this node is: rules know nodes by name and attributes too."""
        self._local = local

    # ------------------------------------------------------------------ rules and hits

    def set_rules(self, rules: Sequence[NumberedRule]) -> None:
        """Obey these rules instead of those before. Ones that stay go on counting."""
        self._book.set_rules(rules, self._now_s())
        is_empty = self._book.is_empty
        self.ask = self._bare_ask if is_empty else self._ask
        self._inner.before_opening = None if is_empty else self._before_opening
        faults_set(self._inner, rules)
        self._spoil_links()

    def states(self) -> tuple[RuleState, ...]:
        """The rules, with what each has done so far."""
        return self._book.states

    # ------------------------------------------------------------------ the rest of a transport

    async def start(self, receiver: Receiver) -> None:
        """Begin to accept links: see `Transport.start`."""
        await self._inner.start(receiver)

    def on_link_closed(self, listener: Callable[[str, str], None]) -> None:
        """See `LinkTransport.on_link_closed`."""
        self._inner.on_link_closed(listener)

    def disconnect(self, node_id: str) -> None:
        """Close the link to a node: see `Transport.disconnect`."""
        self._inner.disconnect(node_id)

    async def close(self) -> None:
        """Close all links: see `Transport.close`."""
        self._is_closed = True
        self._set_timer(None)
        self._holds.close()
        await self._inner.close()

    # ------------------------------------------------------------------ messages

    async def send(self, to: DiscoveryNode, request: Request, *, timeout_s: float | None = None) -> bytes:
        """Bring a request and wait for its reply: see `Transport.send`."""
        return await wait_for_answer(self.ask, to, request, timeout_s)

    def _ask(self, to: DiscoveryNode, request: Request, answered: Answered, *, timeout_s: float | None = None) -> Asked:
        local = self._local
        if local is None or to.id == local.id:
            return self._bare_ask(to, request, answered, timeout_s=timeout_s)
        call = Call(
            local,
            to,
            request.action,
            str(request.parent) if request.parent.is_set else "",
            request.headers.get(OPAQUE_ID, ""),
            partial(subject_of, request, self._actions),
        )
        decision = self._book.decide(call, self._now_s())
        for state in decision.links:
            self._note(decision, state)
        refusal = refusal_of(decision)
        if refusal is not None:
            self._note(decision, refusal[0])
            call_refused(self._inner, to, request, refusal[0])
            answered(refusal[1])
            return NOT_ASKED
        spoiled = SpoiledCall(decision, self._inner, self._holds, self._note)
        return self._inner.ask(to, request, answered, timeout_s=timeout_s, put=spoiled.put)

    def _note(self, decision: Decision, state: RuleState) -> None:
        """A message was spoiled by this rule."""
        call, numbered, rule = decision.call, state.numbered, state.rule
        state.note(
            Hit(
                numbered.fault,
                numbered.number,
                rule.kind,
                rule.direction if not rule.is_of_link else "request",
                call.sender.name,
                call.to.name,
                self._clock.wall_time_ms(),
                call.action,
                call.parent_task_id,
                call.opaque_id,
            )
        )

    # ------------------------------------------------------------------ links

    def _spoil_links(self) -> None:
        """Close and silence the links that rules are about now, and let the others speak again."""
        now_s = self._now_s()
        for link in self._inner.sending_links():
            self._spoil_link(link, now_s)
        waiting, self._waiting_to_open = self._waiting_to_open, []
        for opening in waiting:
            wake(opening, None)
        change_s = self._book.next_change_s(now_s)
        self._set_timer(None if change_s is None else change_s - now_s)

    def _spoil_link(self, link: SendingEnd, now_s: float) -> None:
        states = self._on_link(link.to, now_s)
        cut = next((state for state in states if state.rule.kind == "cut"), None)
        if cut is not None:
            self._note_link(cut, link)
            self._inner.end_link(link, "cut by a fault")
            return
        mute = next((state for state in states if state.rule.kind == "blackhole"), None)
        if mute is not None and not link.is_mute:
            self._note_link(mute, link)
            # What waits to be written is lost as well.
            link.queue.clear()
        link.is_mute = mute is not None

    def _note_link(self, state: RuleState, link: SendingEnd) -> None:
        assert self._local is not None
        link_spoiled(link, state)
        numbered, now_ms = state.numbered, self._clock.wall_time_ms()
        state.note(Hit(numbered.fault, numbered.number, state.rule.kind, None, self._local.name, link.to.name, now_ms))

    async def _before_opening(self, to: DiscoveryNode) -> None:
        while True:
            kinds = [state.rule.kind for state in self._on_link(to, self._now_s())]
            if "cut" in kinds:
                raise StreamBroken("cut by a fault")
            if "blackhole" not in kinds:
                return
            # The limit is that of the opening.
            changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting_to_open.append(changed)
            try:
                await changed
            finally:
                if changed in self._waiting_to_open:
                    self._waiting_to_open.remove(changed)

    def _on_link(self, to: DiscoveryNode, now_s: float) -> list[RuleState]:
        return [] if self._local is None else self._book.on_link(self._local, to, now_s)

    def _set_timer(self, wait_s: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if wait_s is not None and not self._is_closed:
            self._timer = self._clock.call_later(wait_s, self._spoil_links)

    def _now_s(self) -> float:
        return self._clock.monotonic_ns() / 1e9
