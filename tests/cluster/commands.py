"""Types commands, in this process or in one of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from click.testing import CliRunner, Result

from taskfan.cluster.cli import cli


def run(*words: str, given: str | None = None) -> Result:
    return CliRunner().invoke(cli, list(words), given, prog_name="taskfan")


@contextmanager
def process_of(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that is gone after the block, whatever the test thought of it."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait(20)
