"""What fault rules note in the journal of the member that obeys them."""

from __future__ import annotations

from collections.abc import Iterable

from taskfan.node import link_journal
from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.faults.decide import NumberedRule, RuleState, Step
from taskfan.node.faults.rule import On
from taskfan.node.journal import FaultHit, FaultsSet, message_id
from taskfan.node.link import SendingEnd
from taskfan.node.link_transport import LinkTransport
from taskfan.node.transport import Request


def message_spoiled(link: SendingEnd, request_id: int, request: Request, step: Step, on: On) -> None:
    """A request on this link, or its reply, was spoiled."""
    if not link.context.journal.is_on:
        return
    link.context.journal.append(
        FaultHit(
            _id_of(step.state.numbered),
            step.state.numbered.number,
            step.rule.kind,
            link.node_id,
            on,
            link_journal.message_of(link, request_id),
            link_journal.id_of(link),
            request.action,
            link_journal.parent_of(request),
            *link_journal.ban_of(request),
            round(step.delay_s * 1000),
        )
    )


def call_refused(transport: LinkTransport, to: DiscoveryNode, request: Request, state: RuleState) -> None:
    """A request failed before there was a link for it. It is a message all the same, and gets its number."""
    if not transport.journal.is_on:
        return
    message = message_id(transport.local.incarnation_id, transport.new_request_id())
    fault, number, kind = _id_of(state.numbered), state.numbered.number, state.rule.kind
    parent, ban = link_journal.parent_of(request), link_journal.ban_of(request)
    transport.journal.append(FaultHit(fault, number, kind, to.id, "request", message, "", request.action, parent, *ban))


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
