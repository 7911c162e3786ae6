"""The driver script does to a running cluster what its verbs say."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.golden.scenarios import HERE

TASKFAN = pathlib.Path(sys.executable).with_name("taskfan")
NAME = "driven"


@pytest.fixture
def environment(tmp_path: pathlib.Path) -> Iterator[dict[str, str]]:
    """The environment of a cluster of its own that was started as a person would."""
    # A short path: the supervisor's socket lives under it.
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "TASKFAN_CLUSTER": NAME}
    run(environment, TASKFAN, "up", "-n", "2", "--any-port", "--name", NAME)
    try:
        yield environment
    finally:
        run(environment, TASKFAN, "down", "--name", NAME)


def run(environment: dict[str, str], *command: object) -> str:
    done = subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def states(environment: dict[str, str]) -> list[str]:
    status = json.loads(run(environment, TASKFAN, "status", "--json", "--name", NAME))
    return [node["state"] for node in status["nodes"]]


def test_each_verb_brings_its_node_into_its_state(environment: dict[str, str]) -> None:
    seen = []
    for verb in ("pause", "resume", "kill", "kill", "start", "start", "stop"):
        run(environment, HERE / "driver", verb, "opensearch-node2")
        seen.append((verb, states(environment)[1]))
    assert seen == [
        ("pause", "paused"),
        ("resume", "running"),
        ("kill", "stopped"),
        ("kill", "stopped"),
        ("start", "running"),
        ("start", "running"),
        ("stop", "stopped"),
    ]
    assert states(environment)[0] == "running"


@pytest.mark.parametrize("arguments", [[], ["kill"], ["explode", "opensearch-node1"]])
def test_a_wrong_call_is_told_how_to_call(arguments: list[str]) -> None:
    done = subprocess.run([str(HERE / "driver"), *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "usage:" in done.stderr
