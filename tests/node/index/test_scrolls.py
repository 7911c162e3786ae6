"""Scroll ids read and write as those of a real node, and readers live as long as they are used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskfan.node.errors import IllegalArgument, TaskfanError, ValidationFailed
from taskfan.node.index.errors import SearchContextMissing
from taskfan.node.index.scrolls import (
    MAX_OPEN_SCROLLS,
    ContextId,
    ReaderContext,
    ReaderContexts,
    ScrollId,
    read_scroll_body,
    scroll_ids_to_clear,
)
from taskfan.node.index.search_phases import query_shard
from taskfan.node.index.search_source import SearchSource
from tests.node.index.builders import UUID, documents, target

SESSION, NODE = "y9ykiIIWSYeP14CYz7C51Q", "QJ2C3FYhQW6RgEbpRVVNuQ"
RECORDED = (
    "FGluY2x1ZGVfY29udGV4dF91dWlkDnF1ZXJ5VGhlbkZldGNoAhZ5OXlraUlJV1NZZVAxNENZejdDNTFRAAAAAAAAAHIWUUoyQzNGWWhRVzZSZ0VicF"
    "JWVk51URZ5OXlraUlJV1NZZVAxNENZejdDNTFRAAAAAAAAAHMWUUoyQzNGWWhRVzZSZ0VicFJWVk51UQEBAnMx"
)
SOURCES = {str(number): {"n": number} for number in range(5)}


def test_a_recorded_scroll_id_is_read_and_written_again() -> None:
    scroll_id = ScrollId.decode(RECORDED)

    assert scroll_id == ScrollId((ContextId(SESSION, 0x72, NODE), ContextId(SESSION, 0x73, NODE)), ("s1",))
    assert scroll_id.encode() == RECORDED


@given(st.lists(st.tuples(st.text("ab", max_size=3), st.integers(0, 2**63 - 1)), max_size=200))
def test_any_scroll_id_comes_back_the_same(contexts: list[tuple[str, int]]) -> None:
    scroll_id = ScrollId(tuple(ContextId(session, number, NODE) for session, number in contexts), ("a", "b"))

    assert ScrollId.decode(scroll_id.encode()) == scroll_id


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("nosuch", "attempting to read 755102 bytes but only 1 bytes are available"),
        ("FGluY2x1ZGVfY29udGV4dF91dWlkDnF1ZXJ5VGhlbkZldGNoAw", None),
    ],
)
def test_a_scroll_id_that_is_none_is_refused_as_by_a_real_node(text: str, cause: str | None) -> None:
    with pytest.raises(IllegalArgument) as caught:
        ScrollId.decode(text)

    assert caught.value.to_object() == {
        "type": "illegal_argument_exception",
        "reason": "Cannot parse scroll id",
        "caused_by": {"type": "e_o_f_exception", "reason": cause},
    }


@given(st.text(max_size=30))
def test_any_text_is_a_scroll_id_or_refused(text: str) -> None:
    try:
        found = ScrollId.decode(text)
    except IllegalArgument:
        return
    assert ScrollId.decode(found.encode()) == found


def test_a_body_names_scroll_ids_and_nothing_else() -> None:
    assert read_scroll_body(b'{"scroll_id":"x","scroll":"1m"}') == {"scroll_id": "x", "scroll": "1m"}
    assert read_scroll_body(b"") == {}
    with pytest.raises(IllegalArgument) as caught:
        read_scroll_body(b'{"scroll_id":"nosuch","x":1}')
    assert caught.value.reason == (
        "Unknown parameter [x] in request body or parameter is of the wrong type[VALUE_NUMBER] "
    )


def test_clearing_means_some_scrolls_or_all_but_not_none() -> None:
    assert scroll_ids_to_clear(["_all"]) is None
    assert scroll_ids_to_clear([RECORDED]) == [ScrollId.decode(RECORDED)]
    with pytest.raises(ValidationFailed, match=r"Validation Failed: 1: no scroll ids specified;"):
        scroll_ids_to_clear([])


def opened(contexts: ReaderContexts, now_ms: int = 0, keep_alive_ms: int = 60_000) -> ReaderContext:
    source, view = SearchSource(size=2), documents(SOURCES)
    context = contexts.open(target(SOURCES), view, source, now_ms, keep_alive_ms, scroll=True)
    context.result = query_shard(view, source, target(SOURCES), scroll=True)
    return context


def test_a_scroll_gives_every_document_once_and_then_nothing() -> None:
    context = opened(ReaderContexts(SESSION))
    pages = []
    for _ in range(4):
        page = context.page()
        pages.append([context.documents[hit.place].id for hit in page.hits])
        context.advance(len(page.hits))

    assert pages == [["0", "1"], ["2", "3"], ["4"], []]


def test_hits_that_were_not_shown_come_again() -> None:
    context = opened(ReaderContexts(SESSION))
    context.page()
    context.advance(1)

    assert [hit.place for hit in context.page().hits] == [1, 2]


def test_a_reader_lives_on_with_each_use_and_ends_when_nobody_uses_it() -> None:
    contexts = ReaderContexts(SESSION)
    number = opened(contexts, now_ms=0, keep_alive_ms=1000).number

    assert contexts.expire(999) == 0
    contexts.get(SESSION, number, 999)
    assert contexts.expire(1500) == 0
    contexts.get(SESSION, number, 1500, keep_alive_ms=5000)
    assert contexts.expire(6000) == 0
    assert contexts.expire(6500) == 1
    with pytest.raises(SearchContextMissing, match=r"No search context found for id \[1\]"):
        contexts.get(SESSION, number, 6500)


def test_a_reader_in_use_does_not_end() -> None:
    contexts = ReaderContexts(SESSION)
    context = opened(contexts, keep_alive_ms=0)
    context.in_use += 1

    assert contexts.expire(10) == 0
    context.in_use -= 1
    assert contexts.expire(10) == 1


def test_a_restarted_node_knows_no_reader_of_before() -> None:
    contexts = ReaderContexts(SESSION)
    number = opened(contexts).number

    with pytest.raises(SearchContextMissing):
        contexts.get("another", number, 0)
    assert not contexts.free("another", number)
    assert contexts.free(SESSION, number)
    assert not contexts.free(SESSION, number)


def test_readers_go_with_their_index_or_all_at_once() -> None:
    contexts = ReaderContexts(SESSION)
    for _ in range(3):
        opened(contexts)

    assert contexts.free_index("other") == 0
    assert contexts.keep_only(["other", UUID]) == 0
    assert contexts.free_index(UUID) == 3
    opened(contexts)
    assert contexts.keep_only(["other"]) == 1
    opened(contexts)
    assert contexts.free_all_scrolls() == 1
    assert len(contexts) == 0


def test_a_node_keeps_no_scroll_for_longer_than_a_day_and_no_more_than_it_bears() -> None:
    contexts = ReaderContexts(SESSION)
    with pytest.raises(IllegalArgument) as caught:
        opened(contexts, keep_alive_ms=25 * 3_600_000)
    assert (caught.value.reason or "").startswith(
        "Keep alive for request (1d) is too large. It must be less than (1d)."
    )

    for _ in range(MAX_OPEN_SCROLLS):
        opened(contexts)
    with pytest.raises(TaskfanError, match="Trying to create too many scroll contexts") as full:
        opened(contexts)
    assert full.value.http_status == 429
