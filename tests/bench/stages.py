"""The functions at whose begin and end a list passes from one stage to the next, by their names in the product.

A function that is renamed is renamed here; a test says when that was forgotten.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

LIST, LIST_OF_NODE = "cluster:monitor/tasks/lists", "cluster:monitor/tasks/lists[n]"


class Function(NamedTuple):
    """`name` is looked up in the module, and counts only for calls about this action, if one is given."""

    module: str
    name: str
    only: str = ""


HTTP_IN = Function("taskfan.coordinator.http.connection", "HttpConnection.data_received")
DISPATCH = Function("taskfan.coordinator.rest.dispatcher", "Dispatcher.dispatch")
EXECUTE = Function("taskfan.node.node", "Node.execute", LIST)
SEND = Function("taskfan.node.node", "Node.ask", LIST_OF_NODE)
HANDLER = Function("taskfan.node.actions.list_tasks", "LIST_OF_NODE.handler")
RECEIVE = Function("taskfan.node.node", "Node.receive", LIST_OF_NODE)
REPLY = Function("taskfan.node.receiving_end", "ReceivingEnd.reply", LIST_OF_NODE)
LINK_IN = Function("taskfan.node.http2_socket", "Http2Socket.data_received")
FLUSH = Function("taskfan.node.http2_socket", "Http2Socket.flush")

FUNCTIONS = (HTTP_IN, DISPATCH, EXECUTE, SEND, HANDLER, RECEIVE, REPLY, LINK_IN, FLUSH)


def begin(function: Function) -> int:
    """The number noted when it begins."""
    return 2 * FUNCTIONS.index(function)


def end(function: Function) -> int:
    """The number noted when it ends."""
    return begin(function) + 1


def holder_of(function: Function) -> tuple[Any, str]:
    """What has it as an attribute, and under which name. Raises AttributeError when there is no such function."""
    holder: Any = importlib.import_module(function.module)
    *path, name = function.name.split(".")
    for part in path:
        holder = getattr(holder, part)
    getattr(holder, name)
    return holder, name


def is_about(function: Function, arguments: tuple[Any, ...]) -> bool:
    """Whether a call with these arguments, `self` first, counts: one names the action, or has it."""
    if not function.only:
        return True
    return any(function.only in (argument, getattr(argument, "action", None)) for argument in arguments[1:3])
