"""First part of the demo: a simulated search that spreads over all nodes, its list, and its cancel."""

import json
import time

from demo_curl import ask, tell

SHARDS = {"action": "indices:data/read/search[phase/query]", "nodes": "_all", "duration": "until_cancelled"}
SEARCH = {"action": "indices:data/read/search", "duration": "until_cancelled", "children": [SHARDS]}


def search(one: str, two: str, three: str) -> None:
    work = f"{one}/_taskfan/work?wait_for_completion=false"
    task = json.loads(tell("A search begins on node 1 and asks every node:", work, "POST", json.dumps(SEARCH)))["task"]
    limit_s = time.monotonic() + 60
    while ask(f"{two}/_tasks?actions=*query*").count("parent_task_id") < 3 and time.monotonic() < limit_s:
        time.sleep(0.02)  # Its children start within milliseconds; the story goes on when they run.
    listed = f"{two}/_tasks?group_by=none&actions=*search*&pretty"
    tell("Any node lists what runs on all. Children name their parent:", listed)
    table = f"{two}/_cat/tasks?v&h=action,task_id,parent_task_id,node&actions=*search*"
    tell("The same as a table:", table)
    cancel = f"{three}/_tasks/{task}/_cancel?wait_for_completion=true&pretty"
    tell("A cancel reaches all children:", cancel, "POST")
    tell("They have ended, on every node:", f"{two}/_tasks?actions=*search*")
