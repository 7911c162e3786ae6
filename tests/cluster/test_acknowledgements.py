"""What a client is told of changes that a node cannot apply: as OpenSearch 3.8.0 tells it with a process stopped."""

from __future__ import annotations

import pytest

from taskfan.cluster import Cluster
from taskfan.cluster.rest_client import RequestFailed, ask


def test_a_paused_node_holds_up_a_change_no_longer_than_its_timeout_and_the_next_one_is_refused() -> None:
    with Cluster(nodes=3) as cluster:
        ask(cluster.url, "PUT", "/old", body={"settings": {"number_of_replicas": 0}})
        uuid = ask(cluster.url, "GET", "/old")["old"]["settings"]["index"]["uuid"]
        cluster.nodes[2].pause()
        created = ask(cluster.url, "PUT", "/first?timeout=200ms")
        assert created == {"acknowledged": False, "shards_acknowledged": False, "index": "first"}
        # Others wait until the first one is over, which is when the node is given up.
        for method, path, body, source in (
            ("PUT", "/second", None, "create-index [second], cause [api]"),
            ("DELETE", "/old", None, f"delete-index [[old/{uuid}]]"),
            ("PUT", "/old/_mapping", {"properties": {}}, f"put-mapping [old/{uuid}]"),
            ("PUT", "/old/_settings", {"number_of_replicas": 1}, f"update-settings [[old/{uuid}]]"),
            (
                "PUT",
                "/_cluster/settings",
                {"transient": {"cluster.routing.allocation.enable": "all"}},
                "cluster_update_settings",
            ),
            ("PUT", "/third/_doc/1", {"a": 1}, "auto create [third]"),
        ):
            limit = "timeout" if "_doc" in path else "cluster_manager_timeout"
            with pytest.raises(RequestFailed) as refused:
                ask(cluster.nodes[1].url, method, f"{path}?{limit}=100ms", body=body)
            assert (refused.value.status, refused.value.type) == (503, "process_cluster_event_timeout_exception")
            assert refused.value.reason == f"failed to process cluster event ({source}) within 100ms"
        cluster.nodes[2].resume()
        cluster.wait_until_ready()
        assert ask(cluster.url, "PUT", "/second")["acknowledged"]
        assert ask(cluster.url, "DELETE", "/first,second,old") == {"acknowledged": True}
