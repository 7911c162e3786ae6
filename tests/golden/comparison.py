"""Compares two recordings, exchange by exchange, and counts how many are equal."""

from __future__ import annotations

import collections
import dataclasses
import difflib
import json
import pathlib
from collections.abc import Iterator, Sequence

from tests.golden.normaliser import Normaliser
from tests.golden.scenarios import Json, Scenario

# One played scenario by (theme, name).
Recording = dict[tuple[str, str], dict[str, Json]]
OUTCOMES = ("equal", "differs", "absent", "skipped")
DIFFERENCE_LINES = 14


@dataclasses.dataclass(slots=True)
class Verdict:
    """How one exchange of the golden recording fares in the other one.

    Attributes:
        key: the number of the exchange in its scenario, "1", "2" …
        mode: exact, shape, status or skip.
        outcome: one of OUTCOMES.
        same_order: whether even the order of JSON keys is the same; of equal ones only.
        difference: lines only one side has, `-` golden, `+` the other.
    """

    theme: str
    scenario: str
    key: str
    mode: str
    request: str
    outcome: str = "equal"
    same_order: bool = True
    difference: list[str] = dataclasses.field(default_factory=list)

    def told(self) -> str:
        """The verdict for a reader, with the difference under it."""
        head = f"{self.outcome.upper()} {self.theme}/{self.scenario} #{self.key} [{self.mode}] {self.request}"
        return "\n".join([head, *(f"    {line}" for line in self.difference)])


def read_recording(folder: pathlib.Path) -> Recording:
    """All scenarios of the files `<theme>.json` in a folder."""
    found: Recording = {}
    for path in sorted(folder.glob("*.json")):
        document = json.loads(path.read_text())
        found |= {(document["theme"], scenario["name"]): scenario for scenario in document["scenarios"]}
    return found


def compare_recordings(scenarios: Sequence[Scenario], golden: Recording, other: Recording) -> list[Verdict]:
    """A verdict for every exchange that the golden recording has of these scenarios."""
    done: list[Verdict] = []
    for scenario in scenarios:
        key = scenario.theme, scenario.name
        if key in golden:
            done += compare_scenario(scenario, golden[key], other.get(key))
    return done


def compare_scenario(scenario: Scenario, golden: dict[str, Json], other: dict[str, Json] | None) -> list[Verdict]:
    """A verdict for every exchange of one scenario; `other` None means it was not played."""
    ours, theirs = Normaliser(golden), Normaliser(other or {"nodes": [], "exchanges": []})
    by_key = {exchange["step"]: exchange for exchange in other["exchanges"]} if other else {}
    steps, done = scenario.planned(), []
    for exchange in golden["exchanges"]:
        key = exchange["step"]
        step = steps.get(key)
        if step is None:
            continue
        asked = f"{exchange['request']['method']} {ours.text(exchange['request']['path'])}"
        verdict = Verdict(scenario.theme, scenario.name, key, step.get("compare", "exact"), asked)
        # Both are normalised even when they are not compared: task numbers run on through the scenario.
        wanted, got = ours.exchange(exchange, step), None
        if key in by_key:
            theirs.text(by_key[key]["request"]["path"])
            got = theirs.exchange(by_key[key], step)
        _judge(verdict, wanted, got)
        done.append(verdict)
    return done


def _judge(verdict: Verdict, wanted: dict[str, Json], got: dict[str, Json] | None) -> None:
    if verdict.mode == "skip":
        verdict.outcome = "skipped"
    elif got is None:
        verdict.outcome = "absent"
    elif _canonical(wanted) != _canonical(got):
        verdict.outcome, verdict.difference = "differs", difference(wanted, got)
    else:
        verdict.same_order = json.dumps(wanted.get("body")) == json.dumps(got.get("body"))


def _canonical(value: Json) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _flat(value: Json, path: str = "") -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key in sorted(value):
            yield from _flat(value[key], f"{path}/{key}")
    elif isinstance(value, list) and value:
        for number, item in enumerate(value):
            yield from _flat(item, f"{path}/{number}")
    else:
        yield f"{path}: {json.dumps(value, ensure_ascii=False)}"


def difference(wanted: Json, got: Json, most: int = DIFFERENCE_LINES) -> list[str]:
    """Lines that only one side has: `-` golden, `+` the other; at most `most` of them."""
    lines = [line for line in difflib.ndiff(list(_flat(wanted)), list(_flat(got))) if line[0] in "-+"]
    short = [line if len(line) < 400 else line[:400] + "…" for line in lines[:most]]
    return short + ([f"… {len(lines) - most} more"] if len(lines) > most else [])


def shares(found: Sequence[Verdict]) -> list[str]:
    """A table of totals for each theme and over all; skipped exchanges do not count into the share."""
    heads = "".join(f"{head:>11}" for head in ("scenarios", "exchanges", *OUTCOMES, "share"))
    lines = [f"{'theme':<12}{heads}"]
    for theme in [*sorted({verdict.theme for verdict in found}), "all"]:
        group = [verdict for verdict in found if theme in ("all", verdict.theme)]
        count = collections.Counter(verdict.outcome for verdict in group)
        compared = len(group) - count["skipped"]
        share = f"{100 * count['equal'] / compared:.1f} %" if compared else "-"
        names = len({(verdict.theme, verdict.scenario) for verdict in group})
        cells = (names, len(group), *(count[outcome] for outcome in OUTCOMES), share)
        lines.append(f"{theme:<12}" + "".join(f"{cell:>11}" for cell in cells))
    return lines
