"""gRPC's own services, health checking and reflection, so that common tools find their way: `grpcurl … list`.

Of their packages only the messages are used: the rest needs grpcio.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from taskfan.node.grpc_status import Status, StatusError
from taskfan.node.rpc import Method, methods_of

_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"]
_REFLECTION = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
# The same messages under a later name, which newer tools ask for first.
_REFLECTION_V1 = "grpc.reflection.v1.ServerReflection"


def standard_methods(services: Iterable[str]) -> dict[str, Method]:
    """The methods of both services, by path.

    Args:
        services: the full names of the others that are served. All of them are healthy as long as this one answers:
            a member is made as a whole.
    """
    names = sorted({*services, _HEALTH.full_name, _REFLECTION.full_name, _REFLECTION_V1})
    reflection = ReflectionService(names)
    return {
        **methods_of(_HEALTH, HealthService(names)),
        **methods_of(_REFLECTION, reflection),
        **methods_of(_REFLECTION, reflection, _REFLECTION_V1),
    }


class HealthService:
    """Says that each known service is served."""

    def __init__(self, names: Iterable[str]) -> None:
        # The empty name is the server as a whole.
        self._names = {"", *names}

    async def Check(self, request: health_pb2.HealthCheckRequest) -> health_pb2.HealthCheckResponse:  # noqa: N802
        """Whether a service is served; NOT_FOUND when it is not known."""
        if request.service not in self._names:
            raise StatusError(Status.NOT_FOUND, f"unknown service [{request.service}]")
        return _health(health_pb2.HealthCheckResponse.SERVING)

    async def List(self, request: health_pb2.HealthListRequest) -> health_pb2.HealthListResponse:  # noqa: N802
        """All services at once; the messages of an older package have no such method."""
        serving = _health(health_pb2.HealthCheckResponse.SERVING)
        return health_pb2.HealthListResponse(statuses=dict.fromkeys(sorted(self._names), serving))

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest
    ) -> AsyncGenerator[health_pb2.HealthCheckResponse, None]:
        """The same, and every change of it: there is none before the server ends."""
        known = request.service in self._names
        response = health_pb2.HealthCheckResponse
        yield _health(response.SERVING if known else response.SERVICE_UNKNOWN)
        await asyncio.Event().wait()


def _health(status: int) -> health_pb2.HealthCheckResponse:
    return health_pb2.HealthCheckResponse(status=status)


class ReflectionService:
    """Describes the services, for tools that were not built with them."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = names

    async def ServerReflectionInfo(  # noqa: N802
        self, requests: AsyncIterator[reflection_pb2.ServerReflectionRequest]
    ) -> AsyncGenerator[reflection_pb2.ServerReflectionResponse, None]:
        """An answer to each request; one about something unknown does not end the call."""
        async for request in requests:
            answer = reflection_pb2.ServerReflectionResponse(valid_host=request.host, original_request=request)
            try:
                self._describe(request, answer)
            except KeyError as error:
                answer.error_response.error_code = Status.NOT_FOUND
                answer.error_response.error_message = f"not found: {error}"
            yield answer

    def _describe(
        self, request: reflection_pb2.ServerReflectionRequest, answer: reflection_pb2.ServerReflectionResponse
    ) -> None:
        """Fill in what was asked for. Raises KeyError when there is no such thing."""
        pool = descriptor_pool.Default()
        match request.WhichOneof("message_request"):
            case "list_services":
                for name in self._names:
                    answer.list_services_response.service.add(name=name)
            case "file_by_filename":
                _add_files(pool.FindFileByName(request.file_by_filename), answer)
            case "file_containing_symbol":
                # The later name of reflection has no description of its own: it is that of the former.
                symbol = request.file_containing_symbol.replace(_REFLECTION_V1, _REFLECTION.full_name)
                _add_files(pool.FindFileContainingSymbol(symbol), answer)
            case "file_containing_extension":
                asked = request.file_containing_extension
                message = pool.FindMessageTypeByName(asked.containing_type)
                extension = pool.FindExtensionByNumber(message, asked.extension_number)
                _add_files(pool.FindFileContainingSymbol(extension.full_name), answer)
            case "all_extension_numbers_of_type":
                message = pool.FindMessageTypeByName(request.all_extension_numbers_of_type)
                numbers = sorted(extension.number for extension in pool.FindAllExtensions(message))
                answer.all_extension_numbers_response.base_type_name = message.full_name
                answer.all_extension_numbers_response.extension_number.extend(numbers)
            case other:
                raise KeyError(f"[{other}] is not understood")


def _add_files(file: FileDescriptor, answer: reflection_pb2.ServerReflectionResponse) -> None:
    """A file and all that it needs, each once."""
    files: dict[str, FileDescriptor] = {}
    waiting = [file]
    while waiting:
        file = waiting.pop()
        if file.name not in files:
            files[file.name] = file
            waiting += file.dependencies
    for needed in files.values():
        described = descriptor_pb2.FileDescriptorProto()
        needed.CopyToProto(described)
        answer.file_descriptor_response.file_descriptor_proto.append(described.SerializeToString())
