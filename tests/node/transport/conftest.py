"""Runs each coroutine test of this folder as a story in a world, once for every implementation of the transport."""

from __future__ import annotations

import inspect

import pytest

from tests.node.transport.world import (
    FaultyHttp2World,
    FaultyMemoryWorld,
    GrpcToHttp2World,
    GrpcWorld,
    Http2OverTcpWorld,
    Http2ToGrpcWorld,
    Http2World,
    MemoryWorld,
    World,
)

WORLDS = {
    "memory": MemoryWorld,
    "grpc": GrpcWorld,
    "http2": Http2World,
    "http2-over-tcp": Http2OverTcpWorld,
    "grpc-to-http2": GrpcToHttp2World,
    "http2-to-grpc": Http2ToGrpcWorld,
    "memory-with-faults": FaultyMemoryWorld,
    "http2-with-faults": FaultyHttp2World,
}


@pytest.fixture(params=list(WORLDS.values()), ids=list(WORLDS))
def world(request: pytest.FixtureRequest) -> World:
    """The members of one story; a new implementation is added here."""
    made = request.param()
    assert isinstance(made, World)
    return made


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A coroutine test runs on the loop of the world it asks for."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    made = pyfuncitem.funcargs["world"]
    assert isinstance(made, World)
    made.run(pyfuncitem.obj(**arguments))
    return True
