"""Rewrites the answers of one scenario so that two servers, or two runs, can be compared."""

from __future__ import annotations

import collections
import json
import re
import urllib.parse
from collections.abc import Callable

import yaml

from tests.golden.answers import is_task, tasks_in
from tests.golden.cat_rows import DURATION, CatRows
from tests.golden.masks import mask, shape, without_noise
from tests.golden.scenarios import Json, Step

COMPARED_HEADERS = ("content-type", "x-opaque-id", "warning", "allow")
NUMBER_KEYS = re.compile(
    r"took|.*(_in_millis|_millis|_in_nanos|_in_bytes)|thread_executions|active_threads|timestamp|_seq_no|_primary_term"
)
HUMAN_KEYS = re.compile(
    r"start_time|running_time|cancellation_time|throttled|throttled_until|task_max_waiting_in_queue"
)
HIDDEN_KEYS = re.compile(
    r"stack_trace|build_hash|build_date|build_type|number|lucene_version|cluster_uuid|index_uuid|ephemeral_id|_scroll_id"
    r"|minimum_(wire|index)_compatibility_version|state_uuid"
)
TEXTS: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"request_id \[\d+\]"), "request_id [<int>]"),
    (re.compile(r"allowed: \[[A-Z, ]+\]"), lambda m: f"allowed: [{', '.join(sorted(m[0][10:-1].split(', ')))}]"),
    (re.compile(r"timed out after \[\d+ms\]"), "timed out after [<int>ms]"),
    (re.compile(r"@[0-9a-f]{5,8}\b"), "@<hash>"),
    (re.compile(r"\{[\w-]{22}\}"), "{<ephemeral id>}"),
    (re.compile(r"\[[\w-]+/[\w-]{22}\]"), lambda m: m[0].split("/")[0] + "/<uuid>]"),
    (re.compile(r"OpenSearch-\d+\.\d+\.\d+\S*-[0-9a-f]{7,40}"), "OpenSearch-<version>"),
    (re.compile(r"OpenSearch/\d+\.\d+\.\d+\S*"), "OpenSearch/<version>"),
]
MARKS = (("id", "<{}>"), ("transport", "<{} transport>"), ("http", "<{} http>"), ("name", "<{} name>"))
# A task is a node's label and the number it has there.
TaskKey = tuple[str, int]


class Normaliser:
    """The names and numbers of one scenario, and what to write for them.

    A task that is met in several exchanges, or asked for, keeps its number through the scenario; one that is
    only passing is numbered within its exchange. So an answer with a task too many costs no later answer.
    """

    def __init__(self, scenario: dict[str, Json]) -> None:
        self.nodes = nodes = scenario["nodes"]
        self._labels: dict[str, str] = {}
        for node in nodes:
            self._labels.setdefault(node["id"], node["label"])
        self._numbers: dict[TaskKey, int] = {}
        self._passing: dict[TaskKey, int] = {}
        self._swaps: list[tuple[re.Pattern[str], str]] = []
        for key, mark in MARKS:
            for node in (node for node in nodes if node[key]):
                bounded = rf"(?<![\w-]){re.escape(node[key])}(?![\w-])"
                self._swaps.append((re.compile(bounded), mark.format(node["label"])))
        for host in sorted({node["host"] for node in nodes} - {""}):
            self._swaps.append((re.compile(rf"(?<![\w.]){re.escape(host)}(?![\w.])"), "<host>"))
        self._lasting = self._find_lasting(scenario["exchanges"])
        self._cat = CatRows(nodes, self.names, self.text)

    def exchange(self, exchange: dict[str, Json], step: Step) -> dict[str, Json]:
        """What of this exchange two servers must agree on, by the step's mode."""
        answer, mode = exchange["response"], step.get("compare", "exact")
        self._passing = {}
        if answer["status"] is None:
            return {"error": answer["error"]}
        body = self._body(exchange["request"], answer, step)
        if mode == "status":
            return {"status": answer["status"]}
        names = COMPARED_HEADERS + tuple(step.get("headers_too") or ())
        headers = {n: self._header(n, answer["headers"][n]) for n in names if n in answer["headers"]}
        for path in step.get("mask") or []:
            mask(body, path.split("/")[1:])
        plain = {"status": answer["status"], "headers": headers, "body": shape(body) if mode == "shape" else body}
        return plain if exchange.get("until_met") is not False else plain | {"gave up waiting": True}

    def names(self, text: str) -> str:
        """The text with the names, ids and addresses of the nodes replaced."""
        for pattern, mark in self._swaps:
            text = pattern.sub(mark, text)
        return text

    def text(self, text: str) -> str:
        """The text with everything replaced that differs between two runs."""
        text = self.names(text)
        text = re.sub(r"<([\w#]+)>:(\d+)", lambda m: f"<{m[1]}>:{self._number(m[1], int(m[2]))}", text)
        text = re.sub(r"\btask \[(\d+)\]", lambda m: f"task [{self._lone(int(m[1]))}]", text)
        for pattern, change in TEXTS:
            text = pattern.sub(change, text)
        return text

    def _find_lasting(self, exchanges: list[dict[str, Json]]) -> set[TaskKey]:
        met: collections.Counter[TaskKey] = collections.Counter()
        for exchange in exchanges:
            asked = self._ids_in(urllib.parse.unquote(exchange["request"]["path"]))
            body = exchange["response"].get("body")
            told = self._ids_in(json.dumps(body))
            told |= {(self._labels.get(task["node"], ""), task["id"]) for task in tasks_in(body)}
            met.update(dict.fromkeys(asked, 2) | dict.fromkeys(told - asked, 1))
        return {key for key, count in met.items() if count > 1}

    def _ids_in(self, text: str) -> set[TaskKey]:
        found = re.findall(r"([\w-]{10,}):(\d+)", text)
        return {(self._labels[node], int(number)) for node, number in found if node in self._labels}

    def _header(self, name: str, value: Json) -> Json:
        if name == "allow" and isinstance(value, str):
            return sorted(part.strip() for part in value.split(","))
        return [self.text(v) for v in value] if isinstance(value, list) else self.text(value)

    def _body(self, request: dict[str, Json], answer: dict[str, Json], step: Step) -> Json:
        body, kind = answer["body"], answer["headers"].get("content-type", "")
        if "yaml" in kind and isinstance(body, str):
            body = yaml.safe_load(body)
        if request["path"].startswith("/_cat/"):
            if isinstance(body, str):
                return self._cat.table(request["path"], body)
            if isinstance(body, list):
                return self._cat.objects(body)
        if step.get("noise") != "keep":
            body = without_noise(body)
        return self._json(self._sorted(body))

    def _sorted(self, value: Json) -> Json:
        """The order of tasks says nothing: they are put in an order of their own, to be numbered in it."""
        if isinstance(value, dict):
            done = {k: self._sorted(v) for k, v in value.items()}
            if done and all(is_task(v) for v in done.values()):
                return dict(sorted(done.items(), key=lambda item: self._rank(item[1])))
            if done and all(self._labels.get(k) for k in done):
                return dict(sorted(done.items(), key=lambda item: self._labels[item[0]]))
            return done
        if isinstance(value, list):
            items = [self._sorted(v) for v in value]
            if items and all(is_task(v) for v in items):
                return sorted(items, key=self._rank)
            if items and all(isinstance(v, dict) and "node_id" in v for v in items):
                return sorted(items, key=lambda v: self._label(v["node_id"]))
            return items
        return value

    def _rank(self, task: dict[str, Json]) -> tuple[Json, ...]:
        label = self._label(str(task["node"]))
        status: Json = task.get("status") if isinstance(task.get("status"), dict) else {}
        known = self._numbers.get((label, task["id"]), 1 << 60) if isinstance(task["id"], int) else 0
        words = (label, str(task["action"]), str(task.get("type")), "parent_task_id" in task)
        told = json.dumps(task.get("headers"), sort_keys=True)
        return *words, str(task.get("description")), status.get("slice_id", -1), told, known, str(task["id"]).zfill(20)

    def _number(self, label: str, number: int) -> str:
        if (label, number) in self._lasting:
            return f"<task {self._numbers.setdefault((label, number), len(self._numbers) + 1)}>"
        return f"<passing {self._passing.setdefault((label, number), len(self._passing) + 1)}>"

    def _lone(self, number: int) -> str:
        """A number without its node: name it by the one node that has it, if there is just one."""
        labels = [label for label, known in self._lasting if known == number]
        return self._number(labels[0], number) if len(labels) == 1 else "<task ?>"

    def _json(self, value: Json, key: str = "") -> Json:
        if isinstance(value, dict):
            task = self._task_number(value)
            return {self.text(k): self._json(v, k) for k, v in value.items()} | task
        if isinstance(value, list):
            return [self._json(v, key) for v in value]
        if isinstance(value, bool) or value is None:
            return value
        if HIDDEN_KEYS.fullmatch(key) and value != "_na_":
            return f"<{key}>"
        if isinstance(value, int | float):
            kind = "<int>" if isinstance(value, int) else "<float>"
            return kind if NUMBER_KEYS.fullmatch(key) and value >= 0 else value
        if HUMAN_KEYS.fullmatch(key):
            return _human(value)
        return self.text(value)

    def _task_number(self, value: dict[str, Json]) -> dict[str, Json]:
        """The bare numbers that belong to a node named next to them."""
        if is_task(value) and isinstance(value["id"], int):
            return {"id": self._number(self._label(value["node"]), value["id"])}
        if isinstance(value.get("task_id"), int) and "node_id" in value:
            return {"task_id": self._number(self._label(value["node_id"]), value["task_id"])}
        return {}

    def _label(self, node_id: str) -> str:
        return self._labels.get(node_id, node_id)


def _human(value: str) -> str:
    if re.fullmatch(r"[\d-]{10}T[\d:.]+Z", value):
        return "<iso time>"
    return "<duration>" if DURATION.fullmatch(value) else value
