"""The plans of simulated work that ship with taskfan, by name."""

from __future__ import annotations

import itertools
from pathlib import Path

_FOLDER = Path(__file__).with_name("plans")


def example_names() -> list[str]:
    """The names, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def what_example_shows(name: str) -> str:
    """The first sentence of the comment at its head."""
    lines = (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    words = " ".join(line.removeprefix("# ") for line in itertools.takewhile(lambda line: line.startswith("#"), lines))
    return words.partition(". ")[0].rstrip(".")


def example_path(name: str) -> Path | None:
    """The YAML file of a plan; None when there is none of that name."""
    return _FOLDER / f"{name}.yaml" if name in example_names() else None
