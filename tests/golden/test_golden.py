"""Plays the golden suite against a taskfan cluster: all that a real OpenSearch answered must come back equal."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator

import httpx
import pytest

from taskfan.cluster import Cluster
from tests.golden.comparison import Verdict, compare_scenario, read_recording
from tests.golden.expected import LISTED, ExpectedDifferences, load_expected
from tests.golden.player import Driver, Player
from tests.golden.scenarios import RECORDED, Choice, Scenario, load_cases

THEMES = list(dict.fromkeys(scenario.theme for scenario in load_cases()))


@pytest.fixture
def player(theme: str) -> Iterator[Player]:
    """A player and its cluster, named as the recorded one is, where a result has been stored before, too."""
    with (
        Cluster(nodes=3, name="opensearch-cluster", node_name="opensearch-node{n}") as cluster,
        Player([node.url for node in cluster.nodes], driver_of(cluster)) as player,
    ):
        if theme != "long":
            # That theme makes the index itself, and where its copies are decides where later shards go.
            store_a_result(cluster.nodes[0].url)
        yield player


def store_a_result(url: str) -> None:
    """The recorded cluster had the index of results from earlier runs: answers about missing ones depend on it."""
    body = {"source": {"index": "golden-missing"}, "dest": {"index": "golden-dest"}}
    started = httpx.post(f"{url}/_reindex?wait_for_completion=false", json=body, timeout=30).json()
    httpx.get(f"{url}/_tasks/{started['task']}?wait_for_completion=true", timeout=30).raise_for_status()


def driver_of(cluster: Cluster) -> Driver:
    """Does the verbs of a driver script to the nodes of this cluster."""
    by_name = {node.name: node for node in cluster.nodes}

    def drive(verb: str, name: str) -> None:
        verbs: dict[str, Callable[[], object]] = {
            "start": by_name[name].start,
            "kill": by_name[name].kill,
            "stop": by_name[name].stop,
            "pause": by_name[name].pause,
            "resume": by_name[name].resume,
        }
        verbs[verb]()

    return drive


def play(theme: str, player: Player, expected: ExpectedDifferences) -> tuple[list[Verdict], list[str]]:
    """Play one theme. Returns a verdict for each exchange, and what does not fit the list."""
    golden = read_recording(RECORDED)
    verdicts, misfits = [], []
    for scenario in load_cases(choice=Choice(themes=[theme])):
        if scenario.name in expected.whole:
            played = None
            misfits += stale_listing(scenario, player)
        else:
            played = player.play(scenario)
        found = compare_scenario(scenario, golden[theme, scenario.name], played)
        verdicts += found
        misfits += expected.misfits(found)
    return verdicts, misfits


def stale_listing(scenario: Scenario, player: Player) -> list[str]:
    """A complaint when a scenario that is listed whole could be played."""
    if not player.can_set_up(scenario):
        return []
    return [f"{scenario.name} can be set up now: list only the exchanges that differ in {LISTED.name}"]


@pytest.mark.parametrize("theme", THEMES)
def test_taskfan_answers_as_opensearch_did(
    theme: str, player: Player, record_property: Callable[[str, object], None]
) -> None:
    verdicts, misfits = play(theme, player, load_expected(load_cases()))
    # The counts go along with the test's report, for the summary at the end (tests/conftest.py).
    counted = [dataclasses.replace(verdict, difference=[]) for verdict in verdicts]
    record_property("golden", json.dumps([dataclasses.asdict(verdict) for verdict in counted]))
    if misfits:
        pytest.fail("\n".join([*misfits, *(f"warning: {warning}" for warning in player.warnings)]), pytrace=False)
