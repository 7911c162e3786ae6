"""Names, wildcards and exclusions mean the indices that they mean to a real node."""

from __future__ import annotations

import pytest

from taskfan.node.errors import IllegalArgument, IndexNotFound, TaskfanError
from taskfan.node.index.errors import InvalidIndexName
from taskfan.node.index.index_names import (
    SINGLE_INDEX_OPTIONS,
    IndicesOptions,
    check_new_name,
    resolve,
    split_names,
    to_auto_create,
)
from taskfan.node.index.metadata import IndexMetadata, Indices

CHARACTERS = r"""[ , ", *, \, <, |, ,, >, /, ?]"""


def indices(*names: str, hidden: tuple[str, ...] = ()) -> Indices:
    metadata = {}
    for name in (*names, *hidden):
        settings = {"index.number_of_shards": "1", "index.number_of_replicas": "0"}
        metadata[name] = IndexMetadata(
            name, f"uuid-{name}", settings | ({"index.hidden": "true"} if name in hidden else {})
        )
    return Indices(metadata)


def names(found: list[IndexMetadata]) -> list[str]:
    return [index.name for index in found]


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("Golden-Upper", "must be lowercase"),
        ("", "must not be empty"),
        ("_x", "must not start with '_', '-', or '+'"),
        ("-x", "must not start with '_', '-', or '+'"),
        ("a*b", f"must not contain the following characters {CHARACTERS}"),
        ("s1,d1", f"must not contain the following characters {CHARACTERS}"),
        ("a b", f"must not contain the following characters {CHARACTERS}"),
        ("a#b", "must not contain '#'"),
        ("a:b", "must not contain ':'"),
        (".", "must not be '.' or '..'"),
        ("..", "must not be '.' or '..'"),
        ("a" * 256, "index name is too long, (256 > 255)"),
    ],
)
def test_a_name_that_no_index_may_have_is_refused(name: str, fault: str) -> None:
    with pytest.raises(InvalidIndexName) as caught:
        check_new_name(name)

    assert caught.value.to_object() == {
        "type": "invalid_index_name_exception",
        "reason": f"Invalid index name [{name}], {fault}",
        "index": name,
        "index_uuid": "_na_",
    }
    assert caught.value.http_status == 400


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s1", ["s1"]),
        ("s1,", ["s1"]),
        ("s1,s1", ["s1"]),
        ("s2,s1", ["s2", "s1"]),
        ("s*", ["s1", "s2"]),
        ("s*,-s1", ["s2"]),
        ("s1,-nosuch*", ["s1"]),
        ("-s*", []),
        ("_all", ["d1", "s1", "s2"]),
        ("*", ["d1", "s1", "s2"]),
        (None, ["d1", "s1", "s2"]),
        ("zz*", []),
        ("*,-s*,s1", ["d1", "s1"]),
    ],
)
def test_an_expression_means_these_indices(text: str | None, expected: list[str]) -> None:
    assert names(resolve(indices("s2", "s1", "d1"), split_names(text))) == expected


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("nosuch", "nosuch"),
        ("s1,-s1", "-s1"),
        ("s1,-nosuch", "-nosuch"),
        ("-s1", "-s1"),
        (",s1", ""),
        (" ", " "),
        ("nosuch,nosuch3", "nosuch"),
        ("Upper", "Upper"),
    ],
)
def test_a_name_that_means_nothing_is_an_error(text: str, missing: str) -> None:
    with pytest.raises(IndexNotFound) as caught:
        resolve(indices("s1"), split_names(text))

    assert caught.value.to_object() == {
        "type": "index_not_found_exception",
        "reason": f"no such index [{missing}]",
        "index": missing,
        "resource.id": missing,
        "resource.type": "index_or_alias",
        "index_uuid": "_na_",
    }


def test_a_name_with_an_underscore_cannot_even_be_looked_for() -> None:
    with pytest.raises(InvalidIndexName) as caught:
        resolve(indices("s1"), ["_under"])

    assert caught.value.reason == "Invalid index name [_under], must not start with '_'."


def test_missing_indices_can_be_ignored_and_nothing_can_be_refused() -> None:
    lenient = IndicesOptions(ignore_unavailable=True)
    assert names(resolve(indices("s1"), ["s1", "nosuch"], lenient)) == ["s1"]
    assert resolve(indices("s1"), ["nosuch"], lenient) == []

    with pytest.raises(IndexNotFound) as caught:
        resolve(indices("s1"), ["nosuch"], IndicesOptions(ignore_unavailable=True, allow_no_indices=False))
    assert caught.value.metadata["resource.type"] == "index_expression"
    with pytest.raises(IndexNotFound) as caught:
        resolve(indices("s1"), ["zz*", "s1"], IndicesOptions(allow_no_indices=False))
    assert caught.value.metadata["resource.type"] == "index_or_alias"


def test_hidden_indices_show_to_those_who_ask() -> None:
    there = indices("s1", hidden=(".h", "x"))

    assert names(resolve(there, ["*"])) == ["s1"]
    assert names(resolve(there, [".*"])) == [".h"]
    assert names(resolve(there, ["x"])) == ["x"]
    assert names(resolve(there, ["*"], IndicesOptions.from_parameters(None, None, "all"))) == [".h", "s1", "x"]
    assert names(resolve(there, ["*"], IndicesOptions.from_parameters(None, None, "none"))) == []
    with pytest.raises(IllegalArgument, match=r"No valid expand wildcard value \[nosuch\]"):
        IndicesOptions.from_parameters(None, None, "nosuch")


def test_a_get_names_one_index_as_it_is() -> None:
    with pytest.raises(IndexNotFound) as caught:
        resolve(indices("s1"), ["s*"], SINGLE_INDEX_OPTIONS)

    assert caught.value.metadata == {
        "index": "s*",
        "resource.id": "s*",
        "resource.type": "index_expression",
        "index_uuid": "_na_",
    }


def test_a_write_makes_an_index_if_the_name_allows_it() -> None:
    assert to_auto_create(indices("s1"), "s2")
    assert not to_auto_create(indices("s1"), "s1")
    with pytest.raises(TaskfanError, match="must be lowercase"):
        to_auto_create(indices("s1"), "Bad")
