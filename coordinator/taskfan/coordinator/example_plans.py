"""The plans of simulated work that ship with taskfan, by name."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).with_name("plans")


def example_names() -> list[str]:
    """The names, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def example_path(name: str) -> Path | None:
    """The YAML file of a plan; None when there is none of that name."""
    return _FOLDER / f"{name}.yaml" if name in example_names() else None
