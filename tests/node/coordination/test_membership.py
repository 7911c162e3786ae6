"""Nodes with real actions over links: they find together, and notice who dies, falls silent or comes back."""

from __future__ import annotations

import pytest

from taskfan.node.coordination.modes import Mode
from taskfan.node.coordination.settings import CoordinationSettings
from taskfan.node.errors import NodeDisconnected
from taskfan.v1 import actions_pb2 as pb
from tests.node.coordination.membership_cluster import MembershipCluster, play


@pytest.mark.parametrize(("eligible", "others"), [(1, 0), (3, 0), (3, 27)])
def test_nodes_that_start_together_are_one_cluster_within_a_few_round_trips(eligible: int, others: int) -> None:
    async def story(cluster: MembershipCluster) -> None:
        await cluster.start()
        # A message takes 1 ms.
        assert await cluster.until_whole() < 0.050
        assert cluster.manager("n01").name == "n01"
        assert cluster.state("n01").cluster_uuid == "uuid"
        assert cluster.state("n01").version <= 3

    play(story, MembershipCluster(eligible, others))


def test_a_killed_node_is_out_at_once_and_its_next_process_replaces_it() -> None:
    async def story(cluster: MembershipCluster) -> None:
        await cluster.start()
        await cluster.until_whole()

        await cluster.kill("n03")
        assert await cluster.until_whole("n01", "n02") < 0.120
        await cluster.start("n03")
        assert await cluster.until_whole() < 0.120
        assert [node.ephemeral_id for node in cluster.state("n02") if node.id == "n03"] == ["n03-4"]

    play(story, MembershipCluster())


def test_when_the_manager_is_killed_another_one_takes_over() -> None:
    async def story(cluster: MembershipCluster) -> None:
        await cluster.start()
        await cluster.until_whole()

        await cluster.kill("n01")
        await cluster.until(lambda: cluster.state("n02").manager is None, 0.050)
        assert await cluster.until_whole("n02", "n03") < 0.300
        assert cluster.state("n02").term == 2
        await cluster.start("n01")
        await cluster.until_whole()
        assert cluster.manager("n01").name != "n01"

    play(story, MembershipCluster())


async def list_of(name: str, cluster: MembershipCluster) -> str | None:
    """Ask n02's way for the tasks of a node, without a limit. Gives why that failed."""
    to, request = cluster.nodes[name], pb.ListTasksRequest()
    try:
        await cluster.members["n02"].node.send(to, "cluster:monitor/tasks/lists[n]", request, headers={})
    except NodeDisconnected as error:
        return error.reason
    return None


def test_a_silent_node_is_out_after_three_checks_and_what_waits_for_it_fails() -> None:
    async def story(cluster: MembershipCluster) -> None:
        await cluster.start()
        await cluster.until_whole()
        # This opens the link that is to fall silent.
        assert await list_of("n03", cluster) is None
        cluster.silence(["n03"], ["n01", "n02"])
        asking = cluster.clock.spawn(list_of("n03", cluster), "list")

        assert 31 < await cluster.until_whole("n01", "n02", limit_s=40) < 34
        assert await asking == "[n03][n03][cluster:monitor/tasks/lists[n]] disconnected"
        cluster.release()
        assert await cluster.until_whole() < 4

    play(story, MembershipCluster())


def test_a_silent_manager_is_replaced_and_later_taken_out() -> None:
    async def story(cluster: MembershipCluster) -> None:
        await cluster.start()
        await cluster.until_whole()
        cluster.silence(["n01"], ["n02", "n03"])

        def is_replaced() -> bool:
            return any(cluster.members[name].membership.mode is Mode.LEADER for name in ("n02", "n03"))

        assert 31 < await cluster.until(is_replaced, 40) < 35
        assert await cluster.until_whole("n02", "n03", limit_s=40) > 25
        cluster.release()
        assert await cluster.until_whole() < 4

    play(story, MembershipCluster())


def test_the_smaller_part_has_no_manager_until_the_network_is_whole_again() -> None:
    async def story(cluster: MembershipCluster) -> None:
        await cluster.start()
        await cluster.until_whole()
        for name, other in [(a, b) for a in ("n01", "n02") for b in ("n03", "n04", "n05")]:
            cluster.network.cut(name, other)

        await cluster.until_whole("n03", "n04", "n05")
        assert cluster.state("n01").manager is None
        assert len(cluster.state("n02").nodes) == 5
        for name, other in [(a, b) for a in ("n01", "n02") for b in ("n03", "n04", "n05")]:
            cluster.network.heal(name, other)
        assert await cluster.until_whole() < 4

    play(story, MembershipCluster(5))


def test_time_scale_makes_all_of_it_quick() -> None:
    async def story(cluster: MembershipCluster) -> None:
        await cluster.start()
        await cluster.until_whole()
        cluster.silence(["n03"], ["n01", "n02"])

        assert await cluster.until_whole("n01", "n02") < 1
        cluster.release()
        assert await cluster.until_whole() < 0.5

    play(story, MembershipCluster(settings=CoordinationSettings().scaled(0.01)))


def test_coordination_runs_as_tasks_under_opensearchs_names_and_leaves_none() -> None:
    async def story(cluster: MembershipCluster) -> None:
        seen: dict[str, None] = {}
        for member in [await cluster.listen(name) for name in cluster.nodes]:
            member.node.add_listener(lambda event, task: seen.setdefault(task.action))
            member.membership.start(cluster.nodes.values(), cluster.initial, "uuid")
        await cluster.until_whole()
        await cluster.clock.sleep(3)

        assert sorted(seen) == [
            "internal:cluster/coordination/commit_state",
            "internal:cluster/coordination/join",
            "internal:cluster/coordination/publish_state",
            "internal:cluster/coordination/start_join",
            "internal:cluster/request_pre_vote",
            "internal:coordination/fault_detection/follower_check",
            "internal:coordination/fault_detection/leader_check",
            "internal:discovery/request_peers",
        ]
        assert all(len(list(member.node.registry)) <= 1 for member in cluster.members.values())

    play(story, MembershipCluster())


def test_two_runs_are_the_same() -> None:
    traces: list[list[str]] = []

    async def story(cluster: MembershipCluster) -> None:
        trace: list[str] = []
        traces.append(trace)
        for member in [await cluster.listen(name) for name in cluster.nodes]:
            name = member.node.local.name
            member.node.add_listener(
                lambda event, task, name=name: trace.append(
                    f"{cluster.clock.monotonic_ns()} {name} {event} {task.action}"
                )
            )
            member.membership.start(cluster.nodes.values(), cluster.initial, "uuid")
        await cluster.until_whole()
        await cluster.kill("n01")
        await cluster.until_whole("n02", "n03")

    for _ in range(2):
        play(story, MembershipCluster())
    assert traces[0] == traces[1]
    assert len(traces[0]) > 40
