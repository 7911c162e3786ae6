"""Bans on their way to other nodes: sent as effects of a cancel say, in the name of who cancels."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from taskfan.node.cancellation import SendBan, SendUnban
from taskfan.node.errors import TaskfanError, TransportError
from taskfan.v1 import actions_pb2 as pb

if TYPE_CHECKING:
    from taskfan.node.node import Node

log = logging.getLogger("taskfan.node")

BAN_ACTION = "internal:admin/tasks/ban"


async def send_ban(node: Node, ban: SendBan) -> None:
    """Ban a parent where it has children, and let the registry know what came of it."""
    call, failure = ban.call, None
    request = pb.BanRequest(
        parent_task_id=ban.parent.to_wire(), ban=True, reason=call.reason, wait_for_completion=call.wait
    )
    try:
        await _send(node, ban.node_id, request, call.headers)
    except TaskfanError as error:
        # Its traceback would hold this frame, and this frame holds it.
        failure = error.with_traceback(None)
    node.carry_out(node.registry.ban_answered(ban, failure))


async def send_unban(node: Node, unban: SendUnban) -> None:
    """Take a ban back."""
    request = pb.BanRequest(parent_task_id=unban.parent.to_wire(), ban=False)
    try:
        await _send(node, unban.node_id, request, unban.headers)
    except TaskfanError as error:
        # As in OpenSearch: the ban stays there until this node leaves that one's cluster state.
        log.info("could not remove the ban of [%s] on [%s]: %s", unban.parent, unban.node_id, error)


async def _send(node: Node, node_id: str, request: pb.BanRequest, headers: Mapping[str, str]) -> None:
    to = node.cluster_state.get(node_id)
    if to is None:
        raise TransportError(f"node [{node_id}] left the cluster before its ban was sent")
    await node.send(to, BAN_ACTION, request, headers=headers)
