"""Proves what people type: words, exit statuses, JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskfan.cluster import Cluster
from taskfan.cluster.cli import cli
from taskfan.cluster.ports import bind
from tests.cluster.commands import process_of, run
from tests.cluster.processes import processes_of, wait_until

NAME = f"cli-{os.getpid()}"


@pytest.fixture(scope="module")
def started(state_home: Path) -> Iterator[dict[str, Any]]:
    """What `up --json` printed of two nodes and one that only coordinates."""
    result = run("up", "-n", "2", "--coordinating-only", "1", "--name", NAME, "--any-port", "--json")
    assert result.exit_code == 0, result.output
    yield json.loads(result.output)
    assert run("down", "--name", NAME).exit_code == 0
    assert processes_of(NAME) == []


def test_up_tells_programs_where_everything_is(started: dict[str, Any]) -> None:
    assert started["name"] == NAME
    assert started["url"] == started["nodes"][0]["url"]
    assert [node["roles"] == [] for node in started["nodes"]] == [False, False, True]
    assert 0 < started["started_in_s"] <= started["took_s"]


def test_up_tells_people_what_to_paste_next(state_home: Path) -> None:
    name = f"{NAME}-people"
    result = run("up", "-n", "1", "--any-port", "--name", name)
    again = run("up", "-n", "1", "--any-port", "--name", name)
    stopped = [run("down", "--name", name) for _ in range(2)]

    assert result.output.startswith(f"Cluster [{name}] is ready: 1 node in ")
    assert "* opensearch-node1  running" in result.output
    *_, stop, others, export = result.output.splitlines()
    assert stop == f"Stop it with: taskfan down --name {name}"
    assert others == f"Other commands need --name {name} too, or first: export TASKFAN_NAME={name}"
    assert export.startswith("export OPENSEARCH_URL=http://127.0.0.1:")
    assert again.exit_code == 1
    assert f"Error: Cluster [{name}] runs already (supervisor: process " in again.output
    assert [(done.exit_code, done.output[: len(name) + 25]) for done in stopped] == [
        (0, f"Cluster [{name}] is stopped.\n"),
        (0, f"Cluster [{name}] does not run ("),
    ]


def test_ids_of_nodes_survive_down_and_up_by_whatever_way_the_cluster_got_its_name(
    state_home: Path, tmp_path: Path
) -> None:
    name = f"{NAME}-ids"
    config = tmp_path / "cluster.yml"
    config.write_text(f"cluster:\n  cluster.name: {name}\n")
    ids = []
    for named in (("--name", name), ("--config", str(config))):
        ids.append(json.loads(run("up", "-n", "1", "--any-port", *named, "--json").output)["nodes"][0]["id"])
        assert run("down", "--name", name).output == f"Cluster [{name}] is stopped.\n"
    assert ids[0] == ids[1]


def test_status_shows_the_nodes(started: dict[str, Any]) -> None:
    people = run("status", "--name", NAME).output
    assert people.startswith(f"Cluster [{NAME}]: 3 of 3 nodes run; * is the cluster manager.")
    assert "coordinating only" in people
    programs = json.loads(run("status", "--name", NAME, "--json").output)
    assert [node["id"] for node in programs["nodes"]] == [node["id"] for node in started["nodes"]]
    assert [node["in_cluster"] for node in programs["nodes"]] == [True, True, True]


def test_status_tells_of_nodes_that_are_out_of_faults_and_of_a_missing_manager(started: dict[str, Any]) -> None:
    assert run("partition", "isolate", "--nodes", "opensearch-node3", "--name", NAME).exit_code == 0
    wait_until(lambda: " no " in run("status", "--name", NAME).output, "the manager has taken it out")
    out = run("status", "--name", NAME).output
    assert run("heal", "--name", NAME).exit_code == 0
    assert run("stop", "opensearch-node1", "--name", NAME).exit_code == 0
    without = run("status", "--name", NAME).output
    assert run("start", "opensearch-node1", "--name", NAME).exit_code == 0

    assert out.startswith(f"Cluster [{NAME}]: 3 of 3 nodes run, 2 are in the cluster; * is the cluster manager.")
    assert [row.split()[2] for row in out.splitlines() if "  opensearch-node" in row] == ["yes", "no"]
    assert f"1 fault is set: see `taskfan fault list --name {NAME}`;" in out
    assert "2 of 3 nodes run, 0 are in the cluster; no cluster manager." in without
    assert f"No cluster manager: 0 of 1 voters run; `taskfan start opensearch-node1 --name {NAME}`." in without


def test_a_cluster_can_be_meant_by_the_environment_and_all_are_listed(
    started: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKFAN_NAME", NAME)
    for words in (["status"], ["logs"], ["tasks"], ["fault", "list"]):
        assert run(*words).exit_code == 0, words
    rows = json.loads(run("status", "--all", "--json").output)
    [row] = [row for row in rows if row["name"] == NAME]
    assert (row["state"], row["nodes"], row["url"]) == ("running", 3, started["url"])
    assert f"{NAME} " in run("status", "--all").output


@pytest.mark.parametrize(
    ("verbs", "state"),
    [(["pause"], "paused"), (["resume"], "running"), (["kill", "start"], "running"), (["restart"], "running")],
)
def test_verbs_do_what_they_say(verbs: list[str], state: str, started: dict[str, Any]) -> None:
    for verb in verbs:
        result = run(verb, "opensearch-node2", "--name", NAME, "--json")
        assert result.exit_code == 0, result.output
    assert json.loads(result.output)["nodes"][1]["state"] == state


def test_a_node_that_was_killed_is_told_from_one_that_was_stopped(started: dict[str, Any]) -> None:
    said = [run(verb, "opensearch-node3", "--name", NAME).output for verb in ("stop", "kill", "start", "kill", "kill")]
    row = next(row for row in run("status", "--name", NAME).output.splitlines() if "opensearch-node3" in row)
    assert run("start", "opensearch-node3", "--name", NAME).exit_code == 0

    words = ("is stopped", "did not run", "is running", "is killed", "did not run")
    assert said == [f"Node [opensearch-node3] {word}.\n" for word in words]
    assert row.endswith("killed")


def test_output_that_finds_no_room_is_an_error_in_a_sentence(started: dict[str, Any]) -> None:
    command = [sys.executable, "-m", "taskfan.cluster.cli", "status", "--json", "--name", NAME]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stderr) == (1, "Error: Cannot write what was asked for: No space left on device.\n")


def test_several_nodes_can_be_named(started: dict[str, Any]) -> None:
    result = run("restart", "opensearch-node2", "opensearch-node3", "--name", NAME)
    assert result.output == "Node [opensearch-node2] is running.\nNode [opensearch-node3] is running.\n"
    assert run("resume", "*2", "*-node*3", "*2", "--name", NAME).output == result.output
    none = run("kill", "opensearch-node2", "data-*", "--name", NAME)
    assert (none.exit_code, none.stdout) == (1, "")
    assert "No node matches [data-*]: there are opensearch-node1, " in none.output


def test_nodes_are_added_and_removed(started: dict[str, Any]) -> None:
    result = run("add", "data-1", "--roles", "data", "--setting", "node.attr.zone=b", "--name", NAME)
    assert "Node [data-1] is running." in result.stdout
    assert json.loads(run("status", "--name", NAME, "--json").stdout)["nodes"][-1]["roles"] == ["data"]
    needed = run("remove", "data-1", "opensearch-node1", "--name", NAME)
    assert (needed.exit_code, needed.stdout) == (1, "")
    assert "Node [opensearch-node1] has to stay, so all of them do" in needed.output
    assert run("remove", "data-1", "--name", NAME).stdout == "Node [data-1] is removed.\n"
    assert run("add", "--setting", "zone", "--name", NAME).exit_code == 2
    assert len(json.loads(run("status", "--name", NAME, "--json").stdout)["nodes"]) == len(started["nodes"])


def test_work_is_started_shown_as_a_tree_and_cancelled(started: dict[str, Any]) -> None:
    url = ("--url", started["url"])
    task_id = run("work", "stubborn_children", *url).output.strip()
    assert task_id.rpartition(":")[0] == started["nodes"][0]["id"]
    tree = run("tasks", "--detailed", *url)
    cancelled = run("cancel", task_id, *url)
    listed = json.loads(run("tasks", "--json", *url).output)

    assert tree.exit_code == 0
    assert task_id in tree.output
    assert "└── " in tree.output
    assert cancelled.exit_code == 0
    assert task_id in cancelled.output.splitlines()
    assert f"cancelling 1 tasks: {task_id}" in run("logs", "opensearch-node1", "-n", "100", "--name", NAME).output
    assert listed["tasks"][task_id]["cancelled"] is True


def test_a_node_that_stands_still_costs_no_other_nodes_tasks(started: dict[str, Any]) -> None:
    named = ("--name", NAME)
    assert run("pause", "opensearch-node2", *named).exit_code == 0
    try:
        listed = run("tasks", "--timeout", "300ms", *named)
        cancelled = run("cancel", "--actions", "nothing*", "--timeout", "300ms", *named)
    finally:
        assert run("resume", "opensearch-node2", *named).exit_code == 0

    silent, first = started["nodes"][1], started["nodes"][0]
    assert listed.exit_code == 1
    assert f"Failure of node {silent['id']}: receive_timeout_transport_exception" in listed.output
    assert f"{first['id']}:" in listed.stdout
    log = run("logs", "opensearch-node1", "-n", "100", *named).output
    assert "[opensearch-node2] gave no answer to [cluster:monitor/tasks/lists[n]] within 300 ms" in log
    assert cancelled.exit_code == 1
    assert "gave no answer to POST /_tasks/_cancel within 0.3 s. The cancel goes on" in cancelled.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["tasks", "--nodes", "nobody"], "No node matches [nobody].\n"),
        (["tasks", "--nodes", "*2", "--actions", "nothing*"], "No task matches.\n"),
        (["cancel", "--actions", "nothing*"], "No task matches.\n"),
        (["cancel", "--nodes", "zone:a b"], "No node matches [zone:a b].\n"),
    ],
)
def test_nothing_to_show_is_said(words: list[str], says: str, started: dict[str, Any]) -> None:
    result = run(*words, "--name", NAME)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", says)


def test_a_plan_may_come_through_a_pipe_and_an_address_without_its_scheme(started: dict[str, Any]) -> None:
    address = started["url"].removeprefix("http://")
    result = run("work", "-", "--wait", "--url", address, given="action: test:piped")
    assert result.exit_code == 0, result.output
    wrong = run("work", "-", "--url", address, given="[")
    assert (wrong.exit_code, "standard input is no YAML" in wrong.output) == (2, True)
    listed = run("work", "-", "--url", address, given="[a]")
    assert "standard input: it is a map with the fields of a task" in listed.output
    refused = run("work", "-", "--url", address, given="{action: a, children: [{action: b, nodes: nosuch}]}")
    assert refused.output == "Error: standard input: children[0].nodes: matches no node: [nosuch]\n"
    assert refused.exit_code == 2


def test_the_plans_that_ship_are_listed_and_shown_to_be_copied() -> None:
    listed = run("work", "--list").output
    assert "search_fan_out      A search over ten shards: ten query tasks, dealt to the data nodes, then" in listed
    shown = run("work", "--show", "search_fan_out").output
    assert shown.startswith("# A search over ten shards")
    assert yaml.safe_load(shown)["action"] == "indices:data/read/search"
    assert "Say which PLAN; --list" in run("work").output


def test_a_transport_port_that_is_taken_for_one_of_http_is_named(started: dict[str, Any]) -> None:
    result = run("tasks", "--url", f"http://{started['nodes'][0]['transport_address']}")
    assert result.exit_code == 1
    assert "does not speak HTTP/1: is that a transport port?" in result.output


def test_a_script_can_use_what_up_started_and_leave_it_running(started: dict[str, Any]) -> None:
    with Cluster.attach(NAME) as cluster:
        assert [node.url for node in cluster.nodes] == [node["url"] for node in started["nodes"]]
        assert len(cluster.list_tasks()["nodes"]) == 3
    assert run("status", "--name", NAME).exit_code == 0


def test_the_line_to_paste_tells_the_other_commands_whom_to_ask(
    started: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", started["url"])
    assert started["nodes"][0]["id"] in run("tasks").output
    # A name that was said counts more.
    assert run("tasks", "--name", "nobody").exit_code == 1


def test_what_cannot_be_cancelled_exits_1(started: dict[str, Any]) -> None:
    result = run("cancel", f"{started['nodes'][0]['id']}:999999", "--url", started["url"])
    assert result.exit_code == 1
    assert "999999" in result.output


def test_logs_are_those_of_one_node_or_of_all(started: dict[str, Any], state_home: Path) -> None:
    one = run("logs", "opensearch-node1", "--name", NAME, "-n", "100")
    every = run("logs", "--name", NAME, "-n", "100")
    assert "[opensearch-node1] serving http" in one.output
    assert "[opensearch-node2] serving http" not in one.output
    assert "[opensearch-node2] serving http" in every.output
    lines = [line for line in every.output.splitlines() if line.startswith("[2")]
    assert lines == sorted(lines, key=lambda line: line[:25])
    missing = run("logs", "nobody", "--name", NAME)
    assert (missing.exit_code, "There is no log" in missing.output) == (1, True)


def test_logs_are_followed_until_interrupted(started: dict[str, Any]) -> None:
    command = [sys.executable, "-u", "-m", "taskfan.cluster.cli", "logs", "-f", "-n", "1", "opensearch-node2"]
    with process_of([*command, "--name", NAME]) as process:
        assert process.stdout is not None
        # When it has shown what there is, it shows whatever comes.
        assert "[opensearch-node2]" in process.stdout.readline()
        run("restart", "opensearch-node2", "--name", NAME)
        assert process.stdout.readline().endswith("[opensearch-node2] stopped\n")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["status", "--name", "nobody"], 1, "Cluster [nobody] does not run (running: "),
        (["tasks", "--name", "nobody"], 1, "Cluster [nobody] does not run"),
        (["tasks", "--url", "http://127.0.0.1:1"], 1, "http://127.0.0.1:1 gave no answer to GET /_tasks"),
        (["kill", "x", "--name", "STARTED"], 1, "No node is named [x]: there are opensearch-node1"),
        (["up", "-n", "-1"], 2, "A cluster has 1 to 1000 nodes; not -1."),
        (["up", "--time-scale", "0"], 2, "[taskfan.time_scale] is a factor from 0.0001 to 1000"),
        (["up", "-n", "0"], 2, "A cluster has 1 to 1000 nodes; not 0."),
        (["up", "-n", "x"], 2, "Invalid value for '-n'"),
        (["up", "--any-port", "--http-port", "1"], 2, "Either --any-port, or --http-port"),
        (["up", "--any-port", "--port-offset", "1000"], 2, "Either --any-port, or --http-port"),
        (["up", "--config", "missing.yml"], 2, "Cannot read missing.yml: No such file or directory."),
        (["cancel", "--name", "STARTED"], 2, "Say which tasks"),
        (["work", "no_such_plan", "--name", "STARTED"], 2, "no plan of that name"),
        (["work", "/", "--name", "STARTED"], 2, "Cannot read /: Is a directory."),
        (["tasks", "--timeout", "5"], 2, "Invalid value for --timeout: it is a time with its unit"),
        (["pause", "--name", "STARTED"], 2, "Missing argument"),
        (["nonsense"], 2, "No such command"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_are_sentences_with_an_exit_status(
    words: list[str], status: int, says: str, started: dict[str, Any]
) -> None:
    # The name of the module's cluster differs from worker to worker, and names of tests must not.
    result = run(*(NAME if word == "STARTED" else word for word in words))
    assert result.exit_code == status
    assert says in result.output
    assert "Traceback" not in result.output


def test_a_taken_port_is_named_with_who_has_it(state_home: Path) -> None:
    with bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        result = run("up", "-n", "1", "--name", f"{NAME}-port", "--http-port", str(port), "--transport-port", "1")
    assert result.exit_code == 1
    assert f"Error: Port {port} is taken by process {os.getpid()} (" in result.output
    assert processes_of(f"{NAME}-port") == []
    # Nothing ran, and there is nothing to read.
    assert not (state_home / "taskfan" / f"{NAME}-port").exists()


def test_a_state_directory_that_cannot_be_written_is_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc")
    result = run("up", "-n", "1", "--any-port", "--name", f"{NAME}-disk")
    assert result.exit_code == 1
    assert "Cannot write to the state directory /proc/taskfan" in result.output
    assert "No such file or directory. Set XDG_STATE_HOME to a directory that can be written." in result.output


@pytest.mark.parametrize("command", [None, *sorted(cli.commands)])
def test_every_help_has_an_example(command: str | None) -> None:
    result = run(*([command] if command else []), "--help")
    assert result.exit_code == 0
    assert "Example" in result.output


def test_help_imports_nothing_that_is_slow() -> None:
    code = (
        "import sys, taskfan.cluster.cli;"
        "print([m for m in ('asyncio', 'grpc', 'httptools', 'msgspec', 'rich', 'yaml') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert told.stdout == "[]\n"
