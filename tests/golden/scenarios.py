"""Scenarios as the case files write them, with shared steps and variables filled in."""

from __future__ import annotations

import collections
import dataclasses
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

HERE = pathlib.Path(__file__).resolve().parent
CASES, RECORDED = HERE / "cases", HERE / "recorded"
METHODS = ("get", "post", "put", "delete", "head", "options", "patch")
MODES = ("exact", "shape", "status", "skip")
REQUEST_KEYS = ("headers", "body", "raw", "ndjson", "node", "limit_s")

# Case files and answers are JSON of any shape; what is known of it is said where it is read.
Json = Any
Step = dict[str, Json]


@dataclasses.dataclass(frozen=True, slots=True)
class Scenario:
    """One story told to a cluster: the answers to `steps` are compared, those of the rest are not.

    Attributes:
        needs: what a server or its driver may lack: pause, kill, stop, shards, slow_search.
        labels: "number" calls the nodes node1, node2, node3; "role" manager, other1, other2.
        node: who is asked by a step that names nobody.
    """

    theme: str
    name: str
    setup: list[Step]
    steps: list[Step]
    teardown: list[Step]
    needs: tuple[str, ...] = ()
    labels: str = "number"
    node: str = "node1"
    held_out: bool = False

    def planned(self) -> dict[str, Step]:
        """The steps that give an exchange, by the key they have in a recording: "1", "2" …"""
        answered = [s for s in self.steps if ("do" in s and "background" not in s) or "collect" in s]
        return {str(number): step for number, step in enumerate(answered, 1)}


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """Which scenarios to play or compare; what is empty leaves nothing out."""

    themes: Sequence[str] = ()
    names: Sequence[str] = ()
    without: Sequence[str] = ()
    held_out: str = "all"

    def has(self, scenario: Scenario) -> bool:
        """Whether this scenario is asked for."""
        return (
            (not self.themes or scenario.theme in self.themes)
            and (not self.names or scenario.name in self.names)
            and not set(scenario.needs) & set(self.without)
            and scenario.held_out in {"only": (True,), "no": (False,), "all": (True, False)}[self.held_out]
        )


def load_cases(folder: pathlib.Path = CASES, choice: Choice = Choice()) -> list[Scenario]:
    """The chosen scenarios, in file order.

    Raises:
        ValueError: a name is used twice, or a step is not exact and does not say why.
    """
    common = yaml.safe_load((folder / "_common.yaml").read_text())
    scenarios = [
        _scenario(path.stem.split("-", 1)[-1], written, common)
        for path in sorted(folder.glob("[!_]*.yaml"))
        for written in yaml.safe_load(path.read_text())
    ]
    doubles = [name for name, count in collections.Counter(s.name for s in scenarios).items() if count > 1]
    if doubles:
        raise ValueError(f"scenario names used twice: {doubles}")
    return [scenario for scenario in scenarios if choice.has(scenario)]


def _scenario(theme: str, written: Mapping[str, Json], common: Mapping[str, Json]) -> Scenario:
    setup, steps, teardown = (list(_expand(written.get(p) or [], common)) for p in ("setup", "steps", "teardown"))
    scenario = Scenario(
        theme,
        written["name"],
        setup,
        steps,
        teardown,
        needs=tuple(written.get("needs") or ()),
        labels=written.get("labels", "number"),
        node=written.get("node", "node1"),
        held_out=bool(written.get("held_out")),
    )
    for key, step in scenario.planned().items():
        mode = step.get("compare", "exact")
        if mode not in MODES or (mode != "exact" and not step.get("why")):
            raise ValueError(f"{theme}/{scenario.name} step {key}: unknown mode, or it does not say why not exact")
    return scenario


def _expand(steps: Sequence[Step], common: Mapping[str, Json]) -> Iterator[Step]:
    """Yield the steps with shared ones in place, and `get: /path` written out as `do:`."""
    for step in steps:
        if "use" in step:
            yield from _expand(fill(common[step["use"]], step.get("with") or {}), common)
            continue
        step = dict(step)
        for method in METHODS:
            if method in step:
                step["do"] = {"method": method.upper(), "path": step.pop(method)}
                step["do"] |= {key: step.pop(key) for key in REQUEST_KEYS if key in step}
        yield step


def fill(value: Json, variables: Mapping[str, Json]) -> Json:
    """Put `${name}` values in, at any depth; a string that is one variable keeps the variable's type.

    A name without a value stays, for a later filling.
    """
    if isinstance(value, dict):
        return {fill(k, variables): fill(v, variables) for k, v in value.items()}
    if isinstance(value, list):
        return [fill(v, variables) for v in value]
    if not isinstance(value, str):
        return value
    whole = re.fullmatch(r"\$\{([\w.]+)\}", value)
    if whole:
        return variables.get(whole[1], value)
    return re.sub(r"\$\{([\w.]+)\}", lambda m: str(variables.get(m[1], m[0])), value)
