"""`taskfan load` sends what its profile says, the same for the same seed, and tells what came of it."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from taskfan.cluster import Cluster, ClusterError, load_run
from taskfan.cluster.cli import cli
from taskfan.cluster.errors import ConfigError
from taskfan.cluster.load_operations import operations, preparations
from taskfan.cluster.load_profile import load_profile, profile_names, read_profile
from taskfan.cluster.load_run import LoadRun
from taskfan.cluster.load_summary import Summary
from taskfan.cluster.rest_client import ask
from tests.cluster.commands import run as run_command

SEARCHES = {"rate": 100, "mix": [{"kind": "search"}]}


@pytest.fixture
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("OPENSEARCH_URL", raising=False)
    return tmp_path


def first(count: int, profile: dict[str, Any], seed: int) -> list[Any]:
    return list(itertools.islice(operations(read_profile(profile), seed), count))


@pytest.mark.parametrize(
    ("profile", "wrong"),
    [
        ({}, "p: rate: is missing"),
        ({"rate": 1}, "p: mix: is missing"),
        ({"rate": 1, "mix": []}, "p: mix: Expected array of length >= 1"),
        ({**SEARCHES, "rate": 0}, "p: rate: Expected float > 0.0"),
        ({**SEARCHES, "speed": 1}, "p: speed: no such field"),
        ({**SEARCHES, "in_flight": 1000}, "p: in_flight: Expected int <= 256"),
        ({**SEARCHES, "index": {"name": "_x"}}, "p: index.name: Expected str matching regex"),
        ({"rate": 1, "mix": [{"kind": "scan"}]}, "p: mix[0].kind: must be one of [search], [bulk], [reindex], [plan]"),
        ({"rate": 1, "mix": [{"weight": 1}]}, "p: mix[0].kind: is missing"),
        ({"rate": 1, "mix": [{"kind": "search"}, {"kind": "bulk", "documents": "5"}]}, "p: mix[1].documents: Expected"),
        ({"rate": 1, "mix": [{"kind": "search", "sise": 1}]}, "p: mix[0].sise: no such field"),
        ({"rate": 1, "mix": [{"kind": "reindex", "requests_per_second": 0}]}, "p: mix[0].requests_per_second: must be"),
        ({"rate": 1, "mix": [{"kind": "reindex", "max_docs": 1, "slices": 2}]}, "p: mix[0].max_docs: must be at least"),
        ({"rate": 1, "mix": [{"kind": "plan", "plan": "nope"}]}, "p: mix[0].plan: no plan [nope] ships with taskfan"),
        (
            {"rate": 1, "mix": [{"kind": "plan", "plan": {"action": "a", "children": [{"action": "b", "copies": 0}]}}]},
            "p: mix[0].plan: children[0].copies",
        ),
    ],
)
def test_a_profile_is_checked_whole_and_what_is_wrong_is_named_by_its_path(profile: Any, wrong: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_profile(profile, "p")
    assert str(caught.value).startswith(wrong)


@pytest.mark.parametrize("name", profile_names())
def test_the_shipped_profiles_are_right(name: str) -> None:
    assert load_profile(name).rate > 0


def test_a_profile_that_is_no_file_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no file \[nope\].*\(mixed, writes\)"):
        load_profile("nope")


def test_the_same_seed_sends_the_same_requests_at_the_same_times() -> None:
    profile = {"rate": 50, "mix": [{"kind": "search"}, {"kind": "bulk", "documents": 3}, {"kind": "reindex"}]}
    assert first(200, profile, seed=4) == first(200, profile, seed=4)
    assert first(200, profile, seed=4) != first(200, profile, seed=5)


def test_operations_come_at_the_rate_and_by_weight() -> None:
    profile = {"rate": 50, "mix": [{"kind": "search", "weight": 3}, {"kind": "reindex", "weight": 1}]}
    sent = first(4000, profile, seed=1)
    assert sent[-1][0] == pytest.approx(80, rel=0.1)
    counted = Counter(operation.kind for _, operation in sent)
    assert counted["search"] == pytest.approx(3000, rel=0.1)


def test_an_index_is_filled_with_all_its_documents_once() -> None:
    sent = list(preparations(read_profile({**SEARCHES, "index": {"documents": 2500}}), seed=1))
    ids = [json.loads(line)["index"]["_id"] for bulk in sent[:-1] for line in bulk.body.splitlines()[::2]]
    assert ids == [str(number) for number in range(2500)]
    assert sent[-1].path == "/load/_refresh"


def test_the_summary_counts_and_names_the_first_error() -> None:
    summary = Summary.of(["search", "bulk"], seed=7)
    for latency_ms in range(1, 101):
        summary.kinds["search"].add(latency_ms, "refused" if latency_ms > 98 else "")
    summary.took_s = 10
    assert summary.to_object()["kinds"]["search"] == {
        "count": 100,
        "errors": 2,
        "not_sent": 0,
        "per_second": 10.0,
        "p50_ms": 51.0,
        "p99_ms": 100.0,
        "first_error": "refused",
    }
    assert summary.to_text().splitlines() == [
        "KIND    COUNT  ERRORS  NOT SENT  RATE/S  P50 MS  P99 MS",
        "search  100    2       0         10.0    51.0    100.0",
        "bulk    0      0       0         0.0     0.0     0.0",
        "First error of search: refused",
        "In 10.0 s, seed 7.",
    ]


def test_a_load_does_all_it_was_told_and_leaves_no_index(tmp_path: Path) -> None:
    plan = {"action": "load:work", "children": [{"action": "load:work[n]", "nodes": "_all", "duration": "10ms"}]}
    kinds = [{"kind": "search"}, {"kind": "bulk", "documents": 5}, {"kind": "plan", "plan": plan}]
    reindex = {"kind": "reindex", "max_docs": 20, "slices": 2}
    profile = {"rate": 40, "in_flight": 64, "index": {"documents": 100, "replicas": 0}, "mix": [*kinds, reindex]}
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(profile))
    with Cluster(nodes=2) as cluster:
        words = ["load", str(path), "--url", cluster.url, "--seconds", "1", "--json"]
        result = CliRunner().invoke(cli, words, prog_name="taskfan")
        assert result.exit_code == 0, result.output
        left = ask(cluster.url, "GET", "/_cluster/state/metadata")["metadata"]["indices"]
    counted = json.loads(result.stdout)["kinds"]
    assert set(counted) == {"search", "bulk", "plan", "reindex"}
    # Never too many at once: more may be in flight than there are.
    assert sum(kind["count"] for kind in counted.values()) == sum(due_s < 1 for due_s, _ in first(200, profile, seed=1))
    assert all(kind["count"] > 0 and kind["errors"] == 0 for kind in counted.values())
    assert left == {}


def test_what_fails_is_counted_and_makes_the_exit_status_one(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    plan = {"action": "a", "outcome": "failure", "failure": {"reason": "on purpose"}}
    path.write_text(json.dumps({"rate": 40, "index": {"documents": 1}, "mix": [{"kind": "plan", "plan": plan}]}))
    with Cluster(nodes=1) as cluster:
        words = ["load", str(path), "--url", cluster.url, "--seconds", "0.3"]
        result = CliRunner().invoke(cli, words, prog_name="taskfan")
    assert result.exit_code == 1
    assert "on purpose" in result.output


def test_an_index_whose_making_got_no_answer_is_deleted_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def no_answer(url: str, method: str, path: str, *_: object, **__: object) -> None:
        asked.append(f"{method} {path}")
        raise ClusterError(f"{url} gave no answer to {method} {path}.")

    monkeypatch.setattr(load_run, "ask", no_answer)
    run = LoadRun(["http://x"], read_profile(SEARCHES), seed=1)
    with pytest.raises(ClusterError, match="gave no answer to PUT"):
        run.prepare()
    assert run.clean_up() == ["load: http://x gave no answer to DELETE /load."]
    assert asked == ["PUT /load", "DELETE /load"]


def test_a_node_that_stands_still_is_told_before_the_wait_for_it(state_home: Path) -> None:
    path = state_home / "profile.json"
    path.write_text(json.dumps({**SEARCHES, "index": {"documents": 10, "replicas": 0}}))
    named = ("--name", "load-paused")
    try:
        up = run_command("up", "-n", "3", "--any-port", "--time-scale", "0.05", *named)
        assert up.exit_code == 0, up.output
        run_command("pause", "opensearch-node3", *named)
        result = run_command("load", str(path), "--seconds", "0.2", *named)
        url = json.loads(run_command("status", "--json", *named).output)["url"]
        left = ask(url, "GET", "/_cluster/state/metadata")["metadata"]["indices"]
    finally:
        run_command("down", *named)
    assert result.stderr.startswith("Paused: opensearch-node3.")
    assert (result.exit_code, left) == (0, {}), result.output
