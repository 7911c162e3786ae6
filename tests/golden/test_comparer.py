"""The comparer, tried on the recordings themselves: what must count counts, what differs from run to run does not."""

from __future__ import annotations

import copy
import json
import pathlib
import re
from collections.abc import Callable

import pytest

from tests.golden.comparison import Verdict, compare_scenario, read_recording, shares
from tests.golden.expected import ExpectedDifferences, load_expected
from tests.golden.scenarios import RECORDED, Choice, Json, Scenario, load_cases

SCENARIOS = load_cases()
GOLDEN = read_recording(RECORDED)
LIST_DEFAULT = next(scenario for scenario in SCENARIOS if scenario.name == "list-default")
MOST_LISTED = 1


def recorded(scenario: Scenario) -> dict[str, Json]:
    return copy.deepcopy(GOLDEN[scenario.theme, scenario.name])


def outcomes(scenario: Scenario, change: Callable[[dict[str, Json]], None]) -> list[str]:
    """The outcome of each exchange when the other side is the recording with this change in each answer."""
    other = recorded(scenario)
    for exchange in other["exchanges"]:
        change(exchange["response"])
    return [verdict.outcome for verdict in compare_scenario(scenario, recorded(scenario), other)]


def test_the_suite_is_sixty_two_scenarios_with_579_exchanges() -> None:
    assert (len(SCENARIOS), sum(len(scenario.planned()) for scenario in SCENARIOS)) == (62, 579)
    assert {key: len(s["exchanges"]) for key, s in GOLDEN.items()} == {
        (scenario.theme, scenario.name): len(scenario.planned()) for scenario in SCENARIOS
    }


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_recording_equals_itself(scenario: Scenario) -> None:
    assert set(outcomes(scenario, lambda answer: None)) <= {"equal", "skipped"}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_another_status_is_seen_in_every_compared_exchange(scenario: Scenario) -> None:
    def change(answer: dict[str, Json]) -> None:
        answer.update(status=418, headers=answer.get("headers", {}), body=answer.get("body"))

    assert set(outcomes(scenario, change)) <= {"differs", "skipped"}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_key_too_many_is_seen_in_every_answer_compared_by_its_body(scenario: Scenario) -> None:
    def change(answer: dict[str, Json]) -> None:
        if isinstance(answer.get("body"), dict):
            answer["body"]["surplus"] = 1

    steps = list(scenario.planned().values())
    answers = [exchange["response"] for exchange in recorded(scenario)["exchanges"]]
    for step, answer, outcome in zip(steps, answers, outcomes(scenario, change), strict=True):
        counts = isinstance(answer.get("body"), dict) and step.get("compare", "exact") in ("exact", "shape")
        assert outcome == ("differs" if counts else "skipped" if step.get("compare") == "skip" else "equal")


def in_text(pattern: str, replacement: str) -> Callable[[dict[str, Json]], None]:
    """A change of the answer's body as text."""

    def change(answer: dict[str, Json]) -> None:
        answer["body"] = json.loads(re.sub(pattern, replacement, json.dumps(answer["body"])))

    return change


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        (in_text(r'"start_time_in_millis": \d+', '"start_time_in_millis": 1700000000000'), "equal"),
        (in_text(r'"running_time_in_nanos": \d+', '"running_time_in_nanos": 7'), "equal"),
        (in_text(r'"cancellable": false', '"cancellable": true'), "differs"),
        (in_text(r'"type": "direct"', '"type": "transport"'), "differs"),
        (in_text(r'"running_time_in_nanos": (\d+)', r'"running_time_in_nanos": "\1"'), "differs"),
        (in_text(r"lists\[n\]", "list[n]"), "differs"),
        (in_text(r'"roles": \["', '"roles": ["other", "'), "differs"),
        (lambda answer: answer["headers"].update({"content-type": "text/plain"}), "differs"),
        (lambda answer: answer["headers"].update({"x-opaque-id": "me"}), "differs"),
        (lambda answer: answer.update(took_ms=99999), "equal"),
    ],
)
def test_what_changes_from_run_to_run_does_not_count_and_the_rest_does(
    change: Callable[[dict[str, Json]], None], outcome: str
) -> None:
    assert outcomes(LIST_DEFAULT, change)[0] == outcome


def test_the_order_of_tasks_and_their_numbers_do_not_count() -> None:
    other = recorded(LIST_DEFAULT)
    ids = {node["id"] for node in other["nodes"]}

    def renumbered(value: Json) -> Json:
        if isinstance(value, dict):
            turned = {renumbered(k): renumbered(v) for k, v in reversed(value.items())}
            return turned | ({"id": value["id"] + 5000} if isinstance(value.get("id"), int) else {})
        if isinstance(value, str) and ":" in value and value.split(":")[0] in ids:
            node, number = value.split(":")
            return f"{node}:{int(number) + 5000}"
        return [renumbered(v) for v in value] if isinstance(value, list) else value

    for exchange in other["exchanges"]:
        exchange["response"]["body"] = renumbered(exchange["response"]["body"])
    found = compare_scenario(LIST_DEFAULT, recorded(LIST_DEFAULT), other)
    assert {verdict.outcome for verdict in found} == {"equal"}
    assert not any(verdict.same_order for verdict in found)


def test_a_parent_that_is_another_task_counts() -> None:
    other = recorded(LIST_DEFAULT)
    tasks = next(iter(other["exchanges"][0]["response"]["body"]["nodes"].values()))["tasks"]
    child = next(task for task in tasks.values() if "parent_task_id" in task)
    child["parent_task_id"] = f"{child['node']}:{child['id']}"
    assert compare_scenario(LIST_DEFAULT, recorded(LIST_DEFAULT), other)[0].outcome == "differs"


def test_an_exchange_that_was_not_played_is_absent() -> None:
    assert {verdict.outcome for verdict in compare_scenario(LIST_DEFAULT, recorded(LIST_DEFAULT), None)} == {"absent"}


def verdict(key: str, outcome: str) -> Verdict:
    return Verdict("list", "list-default", key, "exact", "GET /_tasks", outcome, difference=["- a", "+ b"])


def test_an_unlisted_difference_is_told_with_what_differs_and_a_listed_one_is_not() -> None:
    listed = ExpectedDifferences(whole={}, single={("list-default", "1"): "later"})
    assert listed.misfits([verdict("1", "differs"), verdict("2", "equal")]) == []
    assert listed.misfits([verdict("2", "differs")]) == [
        "DIFFERS list/list-default #2 [exact] GET /_tasks\n    - a\n    + b"
    ]


def test_a_listed_exchange_that_is_equal_must_be_deleted_from_the_list() -> None:
    listed = ExpectedDifferences(whole={}, single={("list-default", "1"): "later"})
    assert listed.misfits([verdict("1", "equal")]) == [
        "list-default #1 is equal now: delete it from expected_differences.yaml"
    ]


@pytest.mark.parametrize("entry", ["nosuch: later", "list-default: {7: later}", "get-running: {9: later}"])
def test_the_list_names_only_what_is_compared(entry: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "listed.yaml"
    path.write_text(f"scenarios:\n  {entry}\n")
    with pytest.raises(ValueError, match=r"there is no scenario nosuch|has no compared exchange"):
        load_expected(SCENARIOS, path)


def test_the_list_of_expected_differences_only_shrinks() -> None:
    # Lower the number when the list gets shorter; nothing raises it.
    assert load_expected(SCENARIOS).exchanges(SCENARIOS) <= MOST_LISTED


def test_shares_count_what_was_compared() -> None:
    found = [verdict("1", "equal"), verdict("2", "differs"), verdict("3", "equal"), verdict("4", "skipped")]
    assert [line.split() for line in shares(found)] == [
        ["theme", "scenarios", "exchanges", "equal", "differs", "absent", "skipped", "share"],
        ["list", "1", "4", "2", "1", "0", "1", "66.7", "%"],
        ["all", "1", "4", "2", "1", "0", "1", "66.7", "%"],
    ]


def test_a_choice_leaves_out_what_needs_something_a_server_lacks() -> None:
    without = load_cases(choice=Choice(themes=["failure"], without=["kill", "slow_search"]))
    assert [scenario.name for scenario in without] == ["failure-paused"]
