"""Which requests a load sends and when: the same for the same profile and seed. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec

from taskfan.cluster.load_profile import Bulk, Kind, LoadProfile, Plan, Reindex, Search, plan_body

WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "islet", "juniper")
JSON, LINES = "application/json", "application/x-ndjson"
SEEDING_BATCH = 1000


class Operation(msgspec.Struct, frozen=True):
    """One request. `kind` is what the summary counts it under."""

    kind: str
    method: str
    path: str
    body: bytes = b""
    content_type: str = JSON


def operations(profile: LoadProfile, seed: int) -> Iterator[tuple[float, Operation]]:
    """Without end: when each is due, in seconds from the start, and what it is. Arrivals are those of strangers:
    exponential pauses, on average as many a second as the rate."""
    random, due_s = Random(seed), 0.0
    weights = [kind.weight for kind in profile.mix]
    while True:
        due_s += random.expovariate(profile.rate)
        [kind] = random.choices(profile.mix, weights)
        yield due_s, _operation(kind, profile, random)


def preparations(profile: LoadProfile, seed: int) -> Iterator[Operation]:
    """What fills the index with its documents."""
    random, index = Random(seed), profile.index
    for first in range(0, index.documents, SEEDING_BATCH):
        ids = range(first, min(first + SEEDING_BATCH, index.documents))
        yield Operation("bulk", "POST", f"/{index.name}/_bulk", _lines(ids, random), LINES)
    yield Operation("refresh", "POST", f"/{index.name}/_refresh")


def _operation(kind: Kind, profile: LoadProfile, random: Random) -> Operation:
    name = profile.index.name
    match kind:
        case Search():
            return Operation("search", "POST", f"/{name}/_search", _json(_search(kind, random)))
        case Bulk():
            ids = [random.randrange(profile.index.documents) for _ in range(kind.documents)]
            return Operation("bulk", "POST", f"/{name}/_bulk", _lines(ids, random), LINES)
        case Reindex():
            body = {"source": {"index": name, "size": kind.batch}, "dest": {"index": f"{name}-copy"}}
            path = f"/_reindex?slices={kind.slices}&max_docs={kind.max_docs}"
            path += f"&requests_per_second={kind.requests_per_second:g}"
            return Operation("reindex", "POST", path, _json(body))
        case Plan():
            path = f"/_taskfan/work?wait_for_completion=true&seed={random.getrandbits(32)}"
            return Operation("plan", "POST", path, _json(plan_body(kind.plan)))


def _search(kind: Search, random: Random) -> dict[str, Any]:
    first = random.randrange(1000)
    query = random.choice(
        ({"match": {"text": random.choice(WORDS)}}, {"range": {"n": {"gte": first, "lt": first + 50}}})
    )
    return {"query": query, "size": kind.size}


def _lines(ids: Any, random: Random) -> bytes:
    lines = (
        f'{{"index":{{"_id":"{number}"}}}}\n'
        f'{{"n":{random.randrange(1000)},"text":"{random.choice(WORDS)} {random.choice(WORDS)}"}}\n'
        for number in ids
    )
    return "".join(lines).encode()


def _json(body: object) -> bytes:
    return json.dumps(body).encode()
