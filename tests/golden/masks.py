"""Takes out of an answer what is not to be compared: single values, all but the types, a cluster's own tasks."""

from __future__ import annotations

import json
import re

from tests.golden.answers import is_task
from tests.golden.scenarios import Json

# Actions a cluster starts for itself.
NOISE = re.compile(
    r"internal:|indices:admin/seq_no/|indices:monitor/stats|cluster:monitor/nodes/stats|indices:admin/mapping/auto_put"
    r"|indices:admin/publish|indices:data/read/search\[(free_context|clear_scroll)|cluster:monitor/state"
)


def without_noise(value: Json) -> Json:
    """Leave out the tasks a cluster runs for itself, and nodes that have no others."""
    if isinstance(value, list):
        return [without_noise(v) for v in value if not (is_task(v) and NOISE.match(v["action"]))]
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, inner in value.items():
        if is_task(inner) and NOISE.match(inner["action"]):
            continue
        cleaned = without_noise(inner)
        if inner and not cleaned and key == "children":
            continue
        if isinstance(inner, dict) and inner.get("tasks") and not cleaned.get("tasks"):
            continue
        kept[key] = cleaned
    return kept


def mask(value: Json, path: list[str]) -> None:
    """Replace, in place, what a path leads to by its type; `*` is any one key, `**` any number of them."""
    if not path or not isinstance(value, dict | list):
        return
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        if path[0] == "**":
            mask(value, path[1:])
            mask(value[key], path)
        elif path[0] in ("*", str(key)):
            if len(path) == 1:
                value[key] = f"<masked {type(value[key]).__name__}>"
            else:
                mask(value[key], path[1:])


def shape(value: Json) -> Json:
    """Keys and types only; equal items of a list, and entries named by ids, count once."""
    if isinstance(value, dict):
        merged: dict[str, Json] = {}
        for key, inner in value.items():
            plain = re.sub(r"<(task|passing) \d+>", "<task>", re.sub(r"<(node|other)\d>|<manager>", "<node>", key))
            merged.setdefault(plain, shape(inner))
        return merged
    if isinstance(value, list):
        shapes = {json.dumps(shape(v), sort_keys=True) for v in value}
        return [json.loads(s) for s in sorted(shapes)]
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
