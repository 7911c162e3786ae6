"""Second part of the demo: a throttled, sliced reindex of real documents, watched, hurried, cancelled and looked up."""

import json

from demo_curl import tell
from demo_progress import watch

COUNT = 3000
BOOKS = "".join(f'{{"index":{{"_id":"{n}"}}}}\n{{"title":"book {n}","year":{1900 + n % 120}}}\n' for n in range(COUNT))
SETTINGS = {"settings": {"number_of_shards": 2, "number_of_replicas": 1}}
# Batches of 25 documents: small ones, so that the throttle makes it wait often and briefly.
REINDEX = {"source": {"index": "books", "size": 25}, "dest": {"index": "copy"}}
NUMBERS = "**.slice_id,**.status.total,**.created,**.requests_per_second,**.throttled_millis"


def reindex(one: str, two: str, three: str) -> None:
    tell("An index of two shards, each with a replica on another node:", f"{one}/books", "PUT", json.dumps(SETTINGS))
    bulk = f"{one}/books/_bulk?refresh=true&filter_path=took,errors"
    tell(f"{COUNT:,} documents in one request:", bulk, "POST", BOOKS, "books.ndjson")
    start = f"{one}/_reindex?wait_for_completion=false&slices=2&requests_per_second=200"
    why = "Copy them in the background: two slices, together 200 documents a second:"
    task = json.loads(tell(why, start, "POST", json.dumps(REINDEX)))["task"]
    watch(two, task, "200 documents a second", until=300)
    tree = f"{two}/_tasks?detailed&group_by=parents&actions=*reindex&pretty&filter_path=**.action,**.parent_task_id"
    tell("Its tree, asked of another node: a leader, and a child for each slice:", f"{tree},{NUMBERS}")
    hurry = (
        f"{two}/_reindex/{task}/_rethrottle?requests_per_second=800&pretty&filter_path=**.slices.requests_per_second"
    )
    tell("Let it hurry while it runs. Each slice gets its half:", hurry, "POST")
    watch(two, task, "800 documents a second", until=1500)
    cancel = f"{three}/_tasks/{task}/_cancel?wait_for_completion=true&pretty&filter_path=**.action,**.cancelled"
    tell("Enough: a cancel of the leader, by the third node, ends the slices too:", cancel, "POST")
    stored = f"{three}/_tasks/{task}?pretty&filter_path=completed,task.cancelled,response.total,response.created"
    more = "response.canceled,response.took,response.throttled"
    tell("What it came to is kept, in an index of the cluster, and any node finds it:", f"{stored},{more}")
    tell("What was copied can be searched after a refresh, on any node:", f"{two}/copy/_refresh", "POST")
    tell("So many documents it was:", f"{three}/copy/_count?filter_path=count")
