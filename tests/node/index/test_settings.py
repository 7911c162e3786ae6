"""Settings of an index are taken, checked and given back as a real node does it."""

from __future__ import annotations

from typing import Any

import pytest

from taskfan.node.errors import TaskfanError
from taskfan.node.index.settings import check_new, check_update, flatten, integer, new_index_settings, shown

UNKNOWN = "please check that any required plugins are installed, or check the breaking changes documentation for removed settings"  # noqa: E501


def test_settings_may_be_nested_or_dotted_with_or_without_their_prefix() -> None:
    given: dict[str, Any] = {
        "index": {"number_of_shards": 3, "routing.allocation.total_shards_per_node": 1},
        "number_of_replicas": "0",
        "index.hidden": True,
        "priority": None,
    }

    assert flatten(given) == {
        "index.number_of_shards": "3",
        "index.routing.allocation.total_shards_per_node": "1",
        "index.number_of_replicas": "0",
        "index.hidden": "true",
    }


def test_a_new_index_shows_all_settings_that_a_real_one_has() -> None:
    settings = new_index_settings({"index.number_of_replicas": "0"}, name="t1", uuid="fq29Zvh1", now_ms=1795553999261)

    assert shown(settings) == {
        "index": {
            "replication": {"type": "DOCUMENT"},
            "number_of_shards": "1",
            "provided_name": "t1",
            "creation_date": "1795553999261",
            "number_of_replicas": "0",
            "uuid": "fq29Zvh1",
            "version": {"created": "137297827"},
        }
    }
    assert list(shown(settings, flat=True)) == [
        "index.creation_date",
        "index.number_of_replicas",
        "index.number_of_shards",
        "index.provided_name",
        "index.replication.type",
        "index.uuid",
        "index.version.created",
    ]
    assert shown(settings, patterns=("index.number*",)) == {
        "index": {"number_of_shards": "1", "number_of_replicas": "0"}
    }
    assert integer(settings, "index.max_result_window") == 10_000


@pytest.mark.parametrize(
    ("settings", "kind", "reason"),
    [
        (
            {"number_of_shards": 0},
            "illegal_argument_exception",
            "Failed to parse value [0] for setting [index.number_of_shards] must be >= 1",
        ),
        (
            {"number_of_shards": 1025},
            "illegal_argument_exception",
            "Failed to parse value [1025] for setting [index.number_of_shards] must be <= 1024",
        ),
        (
            {"number_of_shards": "x"},
            "illegal_argument_exception",
            "Failed to parse value [x] for setting [index.number_of_shards]",
        ),
        (
            {"number_of_replicas": -1},
            "illegal_argument_exception",
            "Failed to parse value [-1] for setting [index.number_of_replicas] must be >= 0",
        ),
        ({"nosuch": 1}, "settings_exception", f"unknown setting [index.nosuch] {UNKNOWN}"),
        (
            {"index.number_of_shard": 1},
            "settings_exception",
            "unknown setting [index.number_of_shard] did you mean [index.number_of_shards]?",
        ),
        (
            {"uuid": "x"},
            "validation_exception",
            "Validation Failed: 1: private index setting [index.uuid] can not be set explicitly;",
        ),
        (
            {"auto_expand_replicas": "x"},
            "illegal_argument_exception",
            "failed to parse [index.auto_expand_replicas] from value: [x] at index -1",
        ),
        (
            {"refresh_interval": "x"},
            "illegal_argument_exception",
            "failed to parse setting [index.refresh_interval] with value [x] as a time value: unit is missing or "
            "unrecognized",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_the_words_of_a_real_node(
    settings: dict[str, Any], kind: str, reason: str
) -> None:
    with pytest.raises(TaskfanError) as caught:
        check_new(flatten(settings))

    assert (caught.value.kind, caught.value.reason, caught.value.http_status) == (kind, reason, 400)


def test_the_number_of_shards_does_not_change() -> None:
    check_update({"index.number_of_replicas": "2"}, ["[t3/9obJ]"])
    with pytest.raises(TaskfanError) as caught:
        check_update({"index.number_of_shards": "3"}, ["[t3/9obJ]"])

    assert caught.value.reason == (
        "Can't update non dynamic settings [[index.number_of_shards]] for open indices [[t3/9obJ]]"
    )
