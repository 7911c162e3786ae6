"""The methods of gRPC services, as every server of them needs: once, whatever carries the calls."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, cast

import msgspec
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from taskfan.node.grpc_status import Status, StatusError


class Method(msgspec.Struct, frozen=True):
    """One method of a service. `handler` takes a request, or an iterator of them, as its description says, and gives
    an answer, or an iterator of them; it raises StatusError to end the call with another status than OK."""

    path: str
    request: type[Message]
    handler: Callable[[Any], Any]
    takes_many: bool
    gives_many: bool

    async def answers(self, messages: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Run a call: the serialized answers to these serialized requests.

        Raises:
            StatusError: the call ends with this status.
        """
        requests = self._requests(messages)
        if self.takes_many:
            given = self.handler(requests)
        else:
            request = await anext(requests, None)
            if request is None:
                raise StatusError(Status.INVALID_ARGUMENT, "the call ended without a request")
            given = self.handler(request)
        if not self.gives_many:
            yield (await cast(Awaitable[Message], given)).SerializeToString()
            return
        async with contextlib.aclosing(given):
            async for answer in given:
                yield answer.SerializeToString()

    async def _requests(self, messages: AsyncIterator[bytes]) -> AsyncIterator[Message]:
        async for data in messages:
            try:
                yield self.request.FromString(data)
            except DecodeError:
                raise StatusError(Status.INVALID_ARGUMENT, f"not a {self.request.DESCRIPTOR.full_name}") from None


def methods_of(service: ServiceDescriptor, servicer: object, name: str = "") -> dict[str, Method]:
    """The methods of a service by path, those for which `servicer` has a method of the same name.

    A service whose description comes from a package may be younger than its servicer here: what that lacks is not
    served, and a call of it ends as UNIMPLEMENTED.

    Args:
        name: under which it is served, when that is not the service's own.
    """
    methods = [
        _method(method, servicer, name or service.full_name)
        for method in service.methods
        if hasattr(servicer, method.name)
    ]
    return {method.path: method for method in methods}


def _method(method: MethodDescriptor, servicer: object, service: str) -> Method:
    return Method(
        path=f"/{service}/{method.name}",
        request=GetMessageClass(method.input_type),
        handler=getattr(servicer, method.name),
        takes_many=method.client_streaming,
        gives_many=method.server_streaming,
    )
