"""Tables of indices, shards, health and counts, on a node that is alone."""

from __future__ import annotations

import json

from tests.coordinator.rest.rest_node import RestNode, with_node

TYPE = "Content-Type: application/json"


def test_the_tables_of_indices_show_what_was_written() -> None:
    async def story(rest: RestNode) -> list[str]:
        settings = json.dumps({"settings": {"number_of_shards": 2}}).encode()
        await rest.ask("PUT", "/i", TYPE, body=settings)
        await rest.ask("PUT", "/none", TYPE, body=b'{"settings":{"number_of_replicas":0}}')
        for number in range(3):
            await rest.ask("PUT", f"/i/_doc/{number}?refresh", TYPE, body=b'{"n":1}')
        asked = (
            "/_cat/indices?h=health,status,index,pri,rep,docs.count,pri.store.size&v",
            "/_cat/indices?health=green&h=index",
            "/_cat/shards/i?h=index,shard,prirep,state,docs,node&s=prirep,shard",
            "/_cat/count/i?h=count",
            "/_cat/health?h=status,node.total,shards,pri,unassign,active_shards_percent",
            "/_cat/indices/missing",
        )
        return [(await rest.ask("GET", path)).body.decode() for path in asked]

    indices, green, shards, count, health, missing = with_node(story)
    assert indices == (
        "health status index pri rep docs.count pri.store.size\n"
        "yellow open   i       2   1          3            24b\n"
        "green  open   none    1   0          0             0b\n"
    )
    assert green == "none\n"
    assert [line.split() for line in shards.splitlines()] == [
        ["i", "0", "p", "STARTED", shards.split()[4], "n1"],
        ["i", "1", "p", "STARTED", str(3 - int(shards.split()[4])), "n1"],
        ["i", "0", "r", "UNASSIGNED"],
        ["i", "1", "r", "UNASSIGNED"],
    ]
    assert count == "3\n"
    assert health == "yellow 1 3 3 2 60.0%\n"
    assert json.loads(missing)["error"]["type"] == "index_not_found_exception"
