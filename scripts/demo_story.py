"""The story that scripts/demo tells: each request as one would type it with curl, and what came back."""

import json
import time
import urllib.request

from taskfan.cluster import Cluster

SHARDS = {"action": "indices:data/read/search[phase/query]", "nodes": "_all", "duration": "until_cancelled"}
SEARCH = {"action": "indices:data/read/search", "duration": "until_cancelled", "children": [SHARDS]}


def ask(url: str, method: str = "GET", body: str = "") -> str:
    request = urllib.request.Request(url, body.encode() or None, {"Content-Type": "application/json"}, method=method)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        return str(answer.read().decode())


def tell(why: str, url: str, method: str = "GET", body: str = "") -> str:
    sent = f" -H 'Content-Type: application/json' -d '{body}'" if body else ""
    answer = ask(url, method, body)
    print(f"\n# {why}\n$ curl{' -X POST' * (method == 'POST')} '{url}'{sent}\n{answer.rstrip()}")
    return answer


begun = time.monotonic()
with Cluster(nodes=3) as cluster:
    print(f"# Three nodes, each a process of its own, ready in {time.monotonic() - begun:.2f} s.")
    one, two, three = (f"{node.url}/_tasks" for node in cluster.nodes)
    work = one.replace("_tasks", "_taskfan/work?wait_for_completion=false")
    task = json.loads(tell("A search begins on node 1 and asks every node:", work, "POST", json.dumps(SEARCH)))["task"]
    while ask(f"{two}?actions=*query*").count("parent_task_id") < 3 and time.monotonic() < begun + 60:
        time.sleep(0.02)  # Its children start within milliseconds; the story goes on when they run.
    tell("Any node lists what runs on all. Children name their parent:", f"{two}?group_by=none&actions=*search*&pretty")
    table = two.replace("_tasks", "_cat/tasks?v&h=action,task_id,parent_task_id,node&actions=*search*")
    tell("The same as a table:", table)
    tell("A cancel reaches all children:", f"{three}/{task}/_cancel?wait_for_completion=true&pretty", "POST")
    tell("They have ended, on every node:", f"{two}?actions=*search*")
