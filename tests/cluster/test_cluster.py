"""Proves what `Cluster` promises of nodes that are stopped, killed, paused and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from taskfan.cluster import Cluster, ClusterError
from taskfan.cluster.cluster import footprints, last_words
from taskfan.cluster.cluster_node import ClusterNode
from taskfan.cluster.errors import ConfigError
from taskfan.cluster.ports import bind
from taskfan.cluster.rest_client import RequestFailed, ask
from tests.cluster.processes import is_alive, processes_of, refuses, wait_until


@pytest.fixture(scope="module")
def shared() -> Iterator[Cluster]:
    with Cluster(nodes=3) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: Cluster) -> Cluster:
    """Three nodes that all run, whatever the test before did."""
    for node in shared.nodes:
        if node.state == "paused":
            node.resume()
        node.start()
    return shared


def state_of(node: ClusterNode) -> dict[str, Any]:
    """The cluster state as that node has it."""
    answer: dict[str, Any] = ask(node.url, "GET", "/_cluster/state/nodes,cluster_manager_node", {"local": True})
    return answer


def members_of(node: ClusterNode) -> list[str]:
    return sorted(member["name"] for member in state_of(node)["nodes"].values())


def test_every_node_answers_as_itself_and_knows_all_others(cluster: Cluster) -> None:
    assert [ask(node.url, "GET", "/")["name"] for node in cluster.nodes] == [node.name for node in cluster.nodes]
    for node in cluster.nodes:
        assert members_of(node) == ["opensearch-node1", "opensearch-node2", "opensearch-node3"]


def test_a_list_comes_from_every_node(cluster: Cluster) -> None:
    answer = cluster.list_tasks(actions="cluster:monitor/tasks/lists*")
    assert sorted(answer["nodes"]) == sorted(node.id for node in cluster.nodes)


def test_work_is_started_listed_and_cancelled(cluster: Cluster) -> None:
    plan = {"action": "indices:data/read/search", "cancellable": True, "duration": "1h"}
    task_id = cluster.start_work(plan, node=cluster.nodes[1])
    assert task_id.startswith(cluster.nodes[1].id)
    cancelled = cluster.cancel_tasks(task_id, wait_for_completion=True)
    assert list(cancelled["nodes"]) == [cluster.nodes[1].id]


def test_plans_that_ship_with_taskfan_are_started_by_name(cluster: Cluster) -> None:
    task_id = cluster.start_work("search_fan_out")
    node_id, _, number = task_id.rpartition(":")
    listed = cluster.list_tasks(group_by="none")["tasks"]
    assert (node_id, int(number)) in [(task["node"], task["id"]) for task in listed]
    cluster.cancel_tasks(task_id)
    with pytest.raises(ConfigError, match=r"no plan of that name ships with taskfan \(.*stubborn_children"):
        cluster.start_work("no_such_plan")


def test_a_cluster_shows_what_it_is(cluster: Cluster) -> None:
    assert repr(cluster) == f"<Cluster taskfan: 3 nodes, {cluster.nodes[0].url}>"
    assert repr(Cluster(nodes=1)) == "<Cluster, not started>"


def test_a_plan_that_cannot_be_carried_out_is_refused_with_its_field(cluster: Cluster) -> None:
    with pytest.raises(RequestFailed, match="durration") as raised:
        cluster.start_work({"action": "x", "durration": "1s"})
    assert raised.value.status == 400


def test_a_restarted_node_is_the_same_one_in_another_process(cluster: Cluster) -> None:
    node, other = cluster.nodes[1], cluster.nodes[0]
    before = (node.pid, state_of(other)["nodes"][node.id]["ephemeral_id"])

    node.restart()

    after = (node.pid, state_of(other)["nodes"][node.id]["ephemeral_id"])
    assert before[0] != after[0]
    assert before[1] != after[1]
    assert ask(node.url, "GET", "/")["name"] == node.name
    assert state_of(other)["nodes"][node.id]["transport_address"] == node.transport_address
    assert not is_alive(before[0])


def test_a_killed_node_is_gone_from_every_state_when_the_call_returns(cluster: Cluster) -> None:
    victim = cluster.nodes[2]
    victim.kill()
    assert (victim.state, victim.pid) == ("stopped", 0)
    assert refuses(victim.url)
    assert [members_of(node) for node in cluster.nodes[:2]] == [["opensearch-node1", "opensearch-node2"]] * 2
    # Twice is fine.
    victim.kill()


def test_when_the_manager_is_gone_another_one_takes_over_and_keeps_it(cluster: Cluster) -> None:
    def manager() -> str:
        return next(node.name for node in cluster.status().nodes if node.is_manager)

    first = manager()
    cluster.node(first).stop()
    second = manager()
    cluster.node(first).start()
    assert second != first
    assert manager() == second
    assert state_of(cluster.node(first))["cluster_manager_node"] == cluster.node(second).id


def test_a_cluster_that_is_over_says_so_whatever_it_is_asked_for() -> None:
    with Cluster(nodes=1) as cluster:
        pass
    for ask_it in (
        cluster.status,
        cluster.list_tasks,
        cluster.cancel_tasks,
        lambda: cluster.start_work("search_fan_out"),
    ):
        with pytest.raises(ClusterError, match=r"^This cluster does not run\.$"):
            ask_it()


def test_a_stopped_node_lets_a_running_request_end(cluster: Cluster) -> None:
    node = cluster.nodes[1]
    pid = node.pid
    node.stop()
    node.stop()
    assert not is_alive(pid)
    assert "stopped" in node.last_log_lines(1)[0]
    assert refuses(node.url)


def test_a_paused_node_stays_a_member_and_learns_what_it_missed(cluster: Cluster) -> None:
    paused, killed, asked = cluster.nodes[1], cluster.nodes[2], cluster.nodes[0]
    paused.pause()
    assert [node.state for node in cluster.nodes] == ["running", "paused", "running"]
    with pytest.raises(ClusterError, match="gave no answer to GET / within"):
        ask(paused.url, "GET", "/", timeout_s=0.05)

    # Of three that vote two stand still or are gone: nothing can change.
    killed.kill()
    assert members_of(asked) == ["opensearch-node1", "opensearch-node2", "opensearch-node3"]

    paused.resume()
    assert paused.state == "running"
    assert members_of(asked) == ["opensearch-node1", "opensearch-node2"]
    assert members_of(paused) == ["opensearch-node1", "opensearch-node2"]


def test_a_node_can_be_started_while_another_one_is_paused() -> None:
    # The state with the new node is brought to the paused one as well: thirty seconds, without this scale.
    with Cluster(nodes=3, time_scale=0.02) as cluster:
        cluster.nodes[0].kill()
        cluster.nodes[1].pause()
        cluster.nodes[0].start()
        assert cluster.nodes[0].state == "running"


def test_a_paused_node_can_be_stopped_killed_and_restarted(cluster: Cluster) -> None:
    node = cluster.nodes[1]
    for end in (node.stop, node.kill):
        node.start()
        node.pause()
        end()
        assert node.state == "stopped"
    node.start()
    node.pause()
    node.restart()
    assert node.state == "running"


def test_a_node_paused_from_outside_is_seen_to_be(cluster: Cluster) -> None:
    node = cluster.nodes[1]
    os.kill(node.pid, signal.SIGSTOP)
    wait_until(lambda: node.state == "paused", "the supervisor sees the pause")
    node.resume()
    assert node.state == "running"


def test_a_node_that_crashes_is_told_with_its_reason(cluster: Cluster) -> None:
    node = cluster.nodes[2]
    os.kill(node.pid, signal.SIGSEGV)
    wait_until(lambda: node.state == "ended", "the supervisor sees the end")
    assert node.status.reason == "was ended by SIGSEGV"
    assert any("Segmentation fault" in line for line in node.last_log_lines(100))
    cluster.wait_until_ready()
    assert members_of(cluster.nodes[0]) == ["opensearch-node1", "opensearch-node2"]


def test_what_has_no_process_cannot_be_paused(cluster: Cluster) -> None:
    cluster.nodes[2].stop()
    with pytest.raises(ClusterError, match=r"\[opensearch-node3\] does not run, so it cannot be paused"):
        cluster.nodes[2].pause()


def test_a_node_whose_port_was_taken_meanwhile_stays_stopped_and_says_by_whom(cluster: Cluster) -> None:
    node = cluster.nodes[2]
    node.stop()
    http, transport = (int(address.rpartition(":")[2]) for address in (node.url, node.transport_address))
    for port in (http, transport):
        with bind("127.0.0.1", port), pytest.raises(ClusterError, match=rf"{port} is taken by process {os.getpid()} "):
            node.start()
        assert node.state != "running"
    node.start()
    assert node.state == "running"


def test_while_a_node_is_stopped_the_system_gives_its_ports_to_nobody(cluster: Cluster) -> None:
    node = cluster.nodes[1]
    node.stop()
    for address in (urlsplit(node.url).netloc, node.transport_address):
        port = int(address.rpartition(":")[2])
        # As the system sees it: who does not say that a port may be shared cannot have it.
        with socket.socket() as sock, pytest.raises(OSError, match="in use"):
            sock.bind(("127.0.0.1", port))
        assert refuses(f"http://{address}")
    node.start()
    assert node.state == "running"


def test_an_unknown_node_is_named_with_those_there_are(cluster: Cluster) -> None:
    assert cluster.nodes["opensearch-node2"] is cluster.nodes[cluster.nodes[1].id] is cluster.nodes[1]
    with pytest.raises(ClusterError, match=r"No node is named \[x\]: there are opensearch-node1"):
        cluster.nodes["x"]
    with pytest.raises(ClusterError, match=r"No node is named \[x\]: there are opensearch-node1"):
        cluster.command("kill", "x")


def test_a_cluster_leaves_nothing_behind() -> None:
    cluster = Cluster(nodes=2).start()
    footprint = footprints[-1]
    assert len(footprint.processes()) == 4
    cluster.stop()
    cluster.stop()
    assert footprint.left_over() == []
    assert [refuses(url) for url in cluster.urls] == [True, True]


def test_clusters_of_one_name_do_not_meet() -> None:
    with Cluster(nodes=1, name="same") as one, Cluster(nodes=2, name="same") as two:
        assert len(members_of(one.nodes[0])) == 1
        assert len(members_of(two.nodes[0])) == 2


def test_settings_reach_the_nodes() -> None:
    config = {"nodes": [{"node.attr.zone": "a"}, {"node.roles": []}]}
    with Cluster(config=config, settings={"http.max_content_length": "1kb"}) as cluster:
        nodes = state_of(cluster.nodes[0])["nodes"]
        assert nodes[cluster.nodes[0].id]["attributes"]["zone"] == "a"
        assert cluster.nodes[1].roles == ()
        with pytest.raises(RequestFailed) as raised:
            ask(cluster.url, "POST", "/_taskfan/work", body={"action": "x" * 2000})
        assert raised.value.status == 413


def test_async_with_does_the_same() -> None:
    async def use() -> int:
        async with Cluster(nodes=1) as cluster:
            return len(cluster.list_tasks()["nodes"])

    assert asyncio.run(use()) == 1
    assert footprints[-1].left_over() == []


def test_a_port_taken_by_somebody_fails_the_start_and_names_them() -> None:
    with bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        for setting in ("http.port", "transport.port"):
            config = {"nodes": [{}, {setting: port}]}
            with pytest.raises(ClusterError, match=rf"Port {port} is taken by process {os.getpid()} "):
                Cluster(config=config).start()


def test_what_cannot_be_meant_starts_nothing() -> None:
    before = len(footprints)
    with pytest.raises(ConfigError):
        Cluster(nodes=0)
    assert len(footprints) == before


def test_a_cluster_that_was_not_started_says_so() -> None:
    cluster = Cluster(nodes=1)
    for ask_it in (lambda: cluster.url, cluster.status, cluster.list_tasks):
        with pytest.raises(ClusterError, match="was not started"):
            ask_it()


def test_the_logs_outlive_a_cluster_that_an_exception_ended() -> None:
    def fail() -> None:
        with Cluster(nodes=1):
            raise ValueError("of the test")

    with pytest.raises(ValueError, match="of the test"):
        fail()
    assert any("serving http" in line for line in last_words["opensearch-node1"])


@pytest.mark.parametrize("step", ["loaded", "bound", "serving", "ready"])
def test_an_interrupt_at_any_step_of_the_start_leaves_nothing(step: str) -> None:
    name = f"interrupted-{step}-{os.getpid()}"

    def interrupt(progress: Any) -> None:
        if progress.step == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Cluster(nodes=2, name=name).start(interrupt)
    assert processes_of(name) == []


def test_where_forking_is_not_safe_members_are_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKFAN_FORK", "0")
    with Cluster(nodes=2) as cluster:
        footprint = footprints[-1]
        assert len(footprint.processes()) == 4
        assert sorted(cluster.list_tasks()["nodes"]) == sorted(node.id for node in cluster.nodes)
        cluster.nodes[1].pause()
        cluster.nodes[1].restart()
        os.kill(cluster.supervisor_pid, signal.SIGKILL)
        wait_until(lambda: not footprint.left_over(), "all is gone")


def test_a_node_that_ends_while_it_starts_fails_the_start_and_nothing_is_left(tmp_path: Path) -> None:
    # A log that cannot be written ends a member before it says anything.
    (tmp_path / "logs" / "opensearch-node2.log").mkdir(parents=True)
    name = f"broken-{os.getpid()}"
    with pytest.raises(ClusterError, match=r"Node \[opensearch-node2\] ended with exit status 1\. Log: .*node2\.log"):
        Cluster(nodes=2, name=name, directory=tmp_path).start()
    assert processes_of(name) == []


def test_an_error_shows_the_end_of_the_log() -> None:
    error = ClusterError("It ended.", log="/tmp/node.log", last_lines=["one", "two"])
    assert str(error) == "It ended. Last lines of /tmp/node.log:\n  one\n  two"
    assert str(ClusterError("It ended.", last_lines=["one"])) == "It ended. Last lines of its log:\n  one"
    assert str(ClusterError("It ended.")) == "It ended."
