"""One call that fault rules spoil: what its request and its reply go through, step by step."""

from __future__ import annotations

from collections.abc import Callable

from taskfan.node.clock import Clock, TimerHandle
from taskfan.node.errors import NodeNotConnected, Rejected, TaskfanError
from taskfan.node.faults.decide import Decision, RuleState, Step
from taskfan.node.faults.fault_journal import message_spoiled
from taskfan.node.faults.rule import REORDER_LIMIT_S, FaultError, On
from taskfan.node.link import SendingEnd, Waiting
from taskfan.node.link_transport import LinkTransport
from taskfan.node.transport import Answer, Answered, Request

# What a frame holds besides its payload, roughly: names, ids, lengths.
FRAME_OVERHEAD_BYTES = 64

Note = Callable[[Decision, RuleState], None]


def refusal_of(decision: Decision) -> tuple[RuleState, TaskfanError] | None:
    """The rule that has the call fail before anything is sent, and the error; None when none does."""
    for step in decision.request:
        # After a delay it comes later: see SpoiledCall.
        if step.rule.kind == "delay":
            return None
        if step.rule.kind in ("fail", "refuse"):
            return step.state, _error(step, decision)
    return None


def _error(step: Step, decision: Decision) -> TaskfanError:
    rule, to, action = step.rule, decision.call.to, decision.call.action
    if rule.kind == "fail":
        return (rule.error or FaultError()).to_error()
    if rule.how == "not_connected":
        return NodeNotConnected(to.name, to.transport_address)
    return Rejected(f"rejected execution of [{action}] on [{to.name}]: its pool is full")


class Holds:
    """Messages that wait to be overtaken, and when each slow link has room again."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._held: dict[tuple[SendingEnd, On], _Held] = {}
        self._free_at_ns: dict[tuple[str, On], int] = {}

    def pass_by(self, link: SendingEnd, on: On, deliver: Callable[[], None]) -> None:
        """Deliver a message, and after it the one that waited to be overtaken."""
        deliver()
        held = self._held.pop((link, on), None)
        if held is not None:
            held.timer.cancel()
            held.overtaken()
            held.deliver()

    def hold(self, link: SendingEnd, on: On, deliver: Callable[[], None], overtaken: Callable[[], None]) -> None:
        """Let a message wait until the next one has passed; if one waits already, this is the next one."""
        if (link, on) in self._held:
            self.pass_by(link, on, deliver)
            return

        def alone() -> None:
            del self._held[link, on]
            deliver()

        self._held[link, on] = _Held(deliver, overtaken, self.clock.call_later(REORDER_LIMIT_S, alone))

    def wait_s(self, node_id: str, on: On, size_bytes: int, bytes_per_s: float) -> float:
        """How long until a message of that size is through a slow link, behind those before it."""
        now_ns = self.clock.monotonic_ns()
        begin_ns = max(now_ns, self._free_at_ns.get((node_id, on), 0))
        end_ns = self._free_at_ns[node_id, on] = begin_ns + round(size_bytes / bytes_per_s * 1e9)
        return (end_ns - now_ns) / 1e9

    def close(self) -> None:
        """Let go of all timers."""
        for held in self._held.values():
            held.timer.cancel()
        self._held.clear()


class _Held:
    __slots__ = ("deliver", "overtaken", "timer")

    def __init__(self, deliver: Callable[[], None], overtaken: Callable[[], None], timer: TimerHandle) -> None:
        self.deliver, self.overtaken, self.timer = deliver, overtaken, timer


class SpoiledCall:
    """Puts one request on its link as its decision says, and gives its reply likewise."""

    def __init__(self, decision: Decision, transport: LinkTransport, holds: Holds, note: Note) -> None:
        self._decision, self._transport, self._holds, self._note = decision, transport, holds, note

    def put(self, link: SendingEnd, request_id: int, request: Request, answered: Answered) -> Waiting:
        """In the place of `SendingEnd.put`."""
        self._link, self._request_id, self._sent = link, request_id, request
        waiting = link.expect(
            request_id, request.action, answered, lambda answer: self._replied(link, request_id, answer)
        )
        size_bytes = len(request.payload) + len(request.action) + FRAME_OVERHEAD_BYTES
        wait_s = self._wait_s("request", size_bytes)
        self._go(link, "request", wait_s, lambda: self._request(link, request_id, request))
        return waiting

    def _request(self, link: SendingEnd, request_id: int, request: Request) -> None:
        """The time of its delays is over: spoil the request, or let it go."""

        def write() -> None:
            if link.is_closed:
                return
            try:
                link.write(request_id, request)
            except TaskfanError as error:
                link.answer(request_id, error)
                return
            for step in self._decision.reply:
                if step.rule.at_once:
                    self._spoiled(step)
                    link.answer(request_id, _error(step, self._decision))

        self._last_step(link, "request", request_id, write)

    def _replied(self, link: SendingEnd, request_id: int, answer: Answer) -> None:
        size_bytes = FRAME_OVERHEAD_BYTES + (len(answer) if isinstance(answer, bytes) else 0)
        wait_s = self._wait_s("reply", size_bytes)

        def deliver() -> None:
            for step in self._decision.reply:
                if step.rule.kind == "duplicate":
                    self._spoiled(step)
                    link.deliver(request_id, answer)
            link.deliver(request_id, answer)

        self._go(link, "reply", wait_s, lambda: self._last_step(link, "reply", request_id, deliver))

    # ------------------------------------------------------------------ what both ways share

    def _wait_s(self, on: On, size_bytes: int) -> float:
        """The time of all delays together, and of the bytes on a slow link."""
        wait_s = 0.0
        for step in self._steps(on):
            if step.rule.kind == "delay":
                self._spoiled(step)
                wait_s += step.delay_s
        bytes_per_s = self._decision.bytes_per_s
        if bytes_per_s:
            slow_s = self._holds.wait_s(self._decision.call.to.id, on, size_bytes, bytes_per_s)
            slow = next(state for state in self._decision.links if state.rule.kind == "slow")
            message_spoiled(self._link, self._request_id, self._sent, Step(slow, slow_s), on)
            wait_s += slow_s
        return wait_s

    def _go(self, link: SendingEnd, on: On, wait_s: float, go: Callable[[], None]) -> None:
        if wait_s > 0:
            self._holds.clock.call_later(wait_s, go)
        else:
            go()

    def _last_step(self, link: SendingEnd, on: On, request_id: int, deliver: Callable[[], None]) -> None:
        """Lose the message, or deliver it, now or after the next one."""
        for step in self._steps(on):
            match step.rule.kind:
                case "drop":
                    self._spoiled(step)
                    return
                case "fail" | "refuse":
                    if not step.rule.at_once:
                        self._spoiled(step)
                        link.answer(request_id, _error(step, self._decision))
                    return
                case "disconnect":
                    self._spoiled(step)
                    self._transport.end_link(link, "disconnected by a fault")
                    return
                case "reorder":
                    self._holds.hold(link, on, deliver, lambda step=step: self._spoiled(step))  # type: ignore[misc]
                    return
        self._holds.pass_by(link, on, deliver)

    def _steps(self, on: On) -> tuple[Step, ...]:
        return self._decision.request if on == "request" else self._decision.reply

    def _spoiled(self, step: Step) -> None:
        self._note(self._decision, step.state)
        message_spoiled(self._link, self._request_id, self._sent, step, step.rule.direction)
