"""Options that several commands have, and how this command was called."""

from __future__ import annotations

import os
import shlex
import sys

import click

NAME_VARIABLE = "TASKFAN_NAME"
DEFAULT_NAME = "taskfan"

NAME = click.option(
    "--name",
    default=DEFAULT_NAME,
    envvar=NAME_VARIABLE,
    help=f"Name of the cluster.  [env: {NAME_VARIABLE}; default: {DEFAULT_NAME}]",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def usual_name() -> str:
    """The cluster that commands mean which are told of none."""
    return os.environ.get(NAME_VARIABLE) or DEFAULT_NAME


def named(name: str) -> str:
    """What a command for this cluster needs behind it; nothing for the one that is meant anyhow."""
    return "" if name == usual_name() else f" --name {shlex.quote(name)}"


def program() -> str:
    """How to call this command again: with its path, unless the shell finds it by itself."""
    called = sys.argv[0]
    # Not by `shutil`, which is slow to import: this is part of a start.
    found = any(os.access(os.path.join(folder, "taskfan"), os.X_OK) for folder in os.get_exec_path())
    return called if os.path.basename(called) == "taskfan" and not found else "taskfan"
