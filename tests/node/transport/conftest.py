"""Runs each coroutine test of this folder as a story in a world, once for every implementation of the transport."""

from __future__ import annotations

import inspect

import pytest

from tests.node.transport.world import FaultyGrpcWorld, FaultyMemoryWorld, GrpcWorld, MemoryWorld, World


@pytest.fixture(
    params=[MemoryWorld, GrpcWorld, FaultyMemoryWorld, FaultyGrpcWorld],
    ids=["memory", "grpc", "memory-with-faults", "grpc-with-faults"],
)
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
