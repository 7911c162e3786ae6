"""What fault rules note in the journal of the member that obeys them."""

from __future__ import annotations

from collections.abc import Iterable

from taskfan.node import link_journal
from taskfan.node.faults.decide import Call, NumberedRule, RuleState, Step
from taskfan.node.faults.rule import On
from taskfan.node.journal import FaultHit, FaultsSet, message_id
from taskfan.node.link import SendingEnd
from taskfan.node.link_transport import LinkTransport


def message_spoiled(link: SendingEnd, request_id: int, call: Call, step: Step, on: On) -> None:
    """A request on this link, or its reply, was spoiled."""
    if not link.context.journal.is_on:
        return
    link.context.journal.append(
        FaultHit(
            _id_of(step.state.numbered),
            step.state.numbered.number,
            step.rule.kind,
            call.to.id,
            on,
            link_journal.message_of(link, request_id),
            link_journal.id_of(link),
            call.action,
            call.parent_task_id,
            round(step.delay_s * 1000),
        )
    )


def call_refused(transport: LinkTransport, call: Call, state: RuleState) -> None:
    """A request failed before there was a link for it. It is a message all the same, and gets its number."""
    if not transport.journal.is_on:
        return
    message = message_id(transport.local.incarnation_id, transport.new_request_id())
    kind, number = state.rule.kind, state.numbered.number
    transport.journal.append(
        FaultHit(
            _id_of(state.numbered), number, kind, call.to.id, "request", message, "", call.action, call.parent_task_id
        )
    )


def link_spoiled(link: SendingEnd, state: RuleState) -> None:
    """A whole link was cut or silenced."""
    if link.context.journal.is_on:
        kind, number = state.rule.kind, state.numbered.number
        link.context.journal.append(
            FaultHit(_id_of(state.numbered), number, kind, link.node_id, link=link_journal.id_of(link))
        )


def faults_set(transport: LinkTransport, rules: Iterable[NumberedRule]) -> None:
    """Other rules are obeyed from now on."""
    if transport.journal.is_on:
        transport.journal.append(FaultsSet(list(dict.fromkeys(map(_id_of, rules)))))


def _id_of(numbered: NumberedRule) -> str:
    # The supervisor adds to the id of a fault how many changes it has seen.
    return numbered.fault.partition("/")[0]
