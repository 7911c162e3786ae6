"""The exchanges that are known to differ still, why, and what to say when a run does not fit that list."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import yaml

from tests.golden.comparison import Verdict
from tests.golden.scenarios import HERE, Scenario

LISTED = HERE / "expected_differences.yaml"


@dataclasses.dataclass(frozen=True, slots=True)
class ExpectedDifferences:
    """What may differ, each with its reason.

    Attributes:
        whole: scenarios whose setup cannot be played, by name; they are not played.
        single: exchanges of scenarios that are played, by scenario name and exchange key.
    """

    whole: Mapping[str, str]
    single: Mapping[tuple[str, str], str]

    def exchanges(self, scenarios: Sequence[Scenario]) -> int:
        """How many compared exchanges of these scenarios are listed, those of whole scenarios among them."""
        of_whole = [s for scenario in scenarios if scenario.name in self.whole for s in scenario.planned().values()]
        return len([step for step in of_whole if step.get("compare") != "skip"]) + len(self.single)

    def misfits(self, verdicts: Sequence[Verdict]) -> list[str]:
        """One text for each exchange that differs without being listed, or is listed and does not differ."""
        return [text for verdict in verdicts if (text := self._misfit(verdict))]

    def _misfit(self, verdict: Verdict) -> str:
        listed = (verdict.scenario, verdict.key) in self.single
        if verdict.scenario in self.whole or verdict.outcome == "skipped":
            return ""
        if verdict.outcome == "equal":
            stale = f"{verdict.scenario} #{verdict.key} is equal now: delete it from {LISTED.name}"
            return stale if listed else ""
        return "" if listed else verdict.told()


def load_expected(scenarios: Sequence[Scenario], path: pathlib.Path = LISTED) -> ExpectedDifferences:
    """Read the list.

    Raises:
        ValueError: it names a scenario or an exchange that is not there or is never compared.
    """
    whole: dict[str, str] = {}
    single: dict[tuple[str, str], str] = {}
    planned = {scenario.name: scenario.planned() for scenario in scenarios}
    for name, entry in yaml.safe_load(path.read_text())["scenarios"].items():
        if name not in planned:
            raise ValueError(f"{path.name}: there is no scenario {name}")
        if isinstance(entry, str):
            whole[name] = entry
            continue
        for key, reason in entry.items():
            if planned[name].get(str(key), {"compare": "skip"}).get("compare") == "skip":
                raise ValueError(f"{path.name}: {name} has no compared exchange #{key}")
            single[name, str(key)] = reason
    return ExpectedDifferences(whole, single)
