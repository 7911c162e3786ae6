"""What the ends of links note in the journal of their member. Asked only while it is on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from taskfan.node import journal
from taskfan.node.errors import TaskfanError
from taskfan.node.ids import TaskId
from taskfan.node.transport import Request
from taskfan.v1 import actions_pb2 as pb

if TYPE_CHECKING:
    from taskfan.node.link import LinkEnd, SendingEnd
    from taskfan.node.receiving_end import ReceivingEnd

BAN_ACTION = "internal:admin/tasks/ban"


def request_sent(link: SendingEnd, request_id: int, request: Request, size: int, lamport_time: int) -> None:
    """A request waits to be written: its frame says this Lamport time."""
    event = journal.RequestSent(
        message_of(link, request_id),
        id_of(link),
        link.node_id,
        request.action,
        parent_of(request),
        *ban_of(request),
        request.headers.get(journal.OPAQUE_ID, ""),
        size,
    )
    link.context.journal.append(event, lamport_time)


def request_refused(link: SendingEnd, request_id: int, request: Request, error: TaskfanError) -> None:
    """A request was turned away before it left."""
    link.context.journal.append(
        journal.RequestRefused(
            message_of(link, request_id),
            id_of(link),
            link.node_id,
            request.action,
            error.reason or "",
            parent_of(request),
            *ban_of(request),
        )
    )


def request_received(link: ReceivingEnd, request_id: int, request: Request) -> None:
    """A request has arrived."""
    message = message_of(link, request_id)
    event = journal.RequestReceived(
        message, id_of(link), link.node_id, request.action, parent_of(request), *ban_of(request)
    )
    link.context.journal.append(event)


def request_timed_out(link: SendingEnd, request_id: int, action: str, after_ms: int) -> None:
    """Nobody waits for the reply any more."""
    message = message_of(link, request_id)
    link.context.journal.append(journal.RequestTimedOut(message, id_of(link), link.node_id, action, after_ms))


def reply_sent(link: ReceivingEnd, request_id: int, action: str, failure: str, size: int, lamport_time: int) -> None:
    """A reply waits to be written, or is lost with its link: its frame says this Lamport time."""
    message = message_of(link, request_id)
    event = journal.ReplySent(message, id_of(link), link.node_id, action, failure, size)
    link.context.journal.append(event, lamport_time)


def reply_received(link: SendingEnd, request_id: int, action: str | None, answer: bytes | TaskfanError) -> None:
    """A reply has arrived; `action` is None when nobody waits for it."""
    failure = answer.kind if isinstance(answer, TaskfanError) else ""
    message, late = message_of(link, request_id), action is None
    link.context.journal.append(journal.ReplyReceived(message, id_of(link), link.node_id, action or "", failure, late))


def link_opened(link: LinkEnd) -> None:
    """Both sides have greeted each other."""
    link.context.journal.append(journal.LinkOpened(id_of(link), link.node_id, link.is_incoming))


def link_closed(link: LinkEnd, reason: str) -> None:
    """A link has ended, or could not be opened."""
    event = journal.LinkClosed(id_of(link), link.node_id, reason, link.is_incoming, not link.is_open)
    link.context.journal.append(event)


def id_of(link: LinkEnd) -> str:
    """The same at both ends."""
    return journal.link_id(_opener(link), link.number)


def message_of(link: LinkEnd, request_id: int) -> str:
    """The same for the request and its reply, at both ends."""
    return journal.message_id(_opener(link), request_id)


def _opener(link: LinkEnd) -> str:
    return link.incarnation_id if link.is_incoming else link.context.local.incarnation_id


def parent_of(request: Request) -> str:
    """The task on whose behalf it is sent, as text; empty without one."""
    return str(request.parent) if request.parent.is_set else ""


def ban_of(request: Request) -> tuple[str, bool]:
    """The parent that a request bans, and whether it removes that ban; empty for all other requests.

    A ban has no parent task, as in OpenSearch: only its payload tells to which cancel it belongs.
    """
    if request.action != BAN_ACTION:
        return "", False
    try:
        message = pb.BanRequest.FromString(request.payload)
    except DecodeError:
        return "", False
    return str(TaskId.from_wire(message.parent_task_id)), not message.ban
