"""internal:cluster/…, internal:coordination/…, internal:discovery/…: what nodes agree on the cluster state by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from taskfan.node.action import Action, ActionContext
from taskfan.node.coordination import messages as m
from taskfan.node.coordination.wire import WIRE_FORMS, WireForm, answer_to_wire, written_answer


def coordination_actions(receive: Callable[[m.Request], m.Answer]) -> tuple[Action, ...]:
    """The actions of a node whose part in coordination is played by `receive`, which may refuse.

    They are made for each node, and so are not among `ACTIONS`.
    """

    def action(form: WireForm) -> Action:
        async def handle(context: ActionContext, request: Any) -> Message:
            return answer_to_wire(receive(form.from_wire(request)))

        def answer(payload: bytes) -> bytes:
            return written_answer(receive(form.read(payload)))

        return Action(form.action, handle, form.request, form.response, answer_at_once=answer)

    return tuple(action(form) for form in WIRE_FORMS.values())
