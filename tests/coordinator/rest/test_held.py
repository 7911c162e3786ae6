"""Proves that a node tells what it alone holds, and that this is nothing when it is at rest."""

from __future__ import annotations

import json
from typing import Any

from taskfan.node.ids import TaskId
from taskfan.node.task import NO_HEADERS
from tests.coordinator.rest.rest_node import NODE_ID, RestNode, with_node

JSON_BODY = "Content-Type: application/json"
AT_REST = {"node": NODE_ID, "tasks": {}, "bans": {}, "child_counts": {}, "search_contexts": 0}


def test_tasks_bans_children_and_search_contexts_are_told_and_asking_is_no_task() -> None:
    child = {"action": "child", "duration": "until_cancelled"}
    plan = {"action": "parent", "duration": "until_cancelled", "children": [child]}

    async def story(rest: RestNode) -> list[Any]:
        before = (await rest.ask("GET", "/_taskfan/held")).json
        work = await rest.ask(
            "POST", "/_taskfan/work?wait_for_completion=false", JSON_BODY, body=json.dumps(plan).encode()
        )
        await rest.until(lambda: len(rest.node.registry) == 2)
        await rest.node.ban(TaskId(NODE_ID, 99), "a ban", wait=False, headers=NO_HEADERS)
        await rest.ask("PUT", "/books/_doc/1?refresh=true", JSON_BODY, body=b"{}")
        await rest.ask("POST", "/books/_search?scroll=1m&size=1")
        during = (await rest.ask("GET", "/_taskfan/held")).json
        rest.node.unban(TaskId(NODE_ID, 99))
        await rest.ask("POST", f"/_tasks/{work.json['task']}/_cancel?wait_for_completion=true")
        # Nobody can read on in an index that was deleted.
        await rest.ask("DELETE", "/books")
        after = (await rest.ask("GET", "/_taskfan/held")).json
        assert list(during["tasks"].values()) == ["parent", "child"]
        return [before, during | {"tasks": {}}, after, work.json["task"]]

    before, during, after, task = with_node(story)
    assert before == after == AT_REST
    counts = {"bans": {f"{NODE_ID}:99": "a ban"}, "child_counts": {task: {NODE_ID: 1}}, "search_contexts": 1}
    assert during == AT_REST | counts
