"""What coordination sends and keeps comes back as it was."""

from __future__ import annotations

import pathlib

import pytest

from taskfan.node.cluster_state import ClusterState
from taskfan.node.coordination import messages as m
from taskfan.node.coordination.state import Persisted
from taskfan.node.coordination.store import FileStore, MemoryStore, StateStore
from taskfan.node.coordination.voting import VotingConfiguration
from taskfan.node.coordination.wire import WIRE_FORMS, answer_from_wire, answer_to_wire, form_of
from tests.node.coordination.simulation import node_of

A, B = node_of("a"), node_of("b", ())
VOTE = m.Join(A, "b", 7, 6, 5)
STATE = m.AcceptedState(
    ClusterState("c", "uuid", 9, (A, B), "a", 7), VotingConfiguration.of("a"), VotingConfiguration.of("ab"), True
)
REQUESTS: list[m.Request] = [
    m.PeersRequest(A),
    m.PreVoteRequest(A, 3, 2, 1),
    m.StartJoinRequest(B, 1 << 40),
    m.JoinRequest(B, 7, VOTE),
    m.JoinRequest(B, 7, None),
    m.PublishRequest(A, STATE),
    m.ApplyCommitRequest(A, 7, 9),
    m.FollowerCheckRequest(A, 7, "b-0"),
    m.LeaderCheckRequest(B),
]
ANSWERS: list[m.Answer] = [
    m.Acknowledged(),
    m.PeersResponse(A, (A, B), 4),
    m.PeersResponse(None, (), 0),
    m.PreVoteResponse(1, 2, 3),
    m.PublishResponse(1, 2, VOTE),
    m.PublishResponse(1, 2, None),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_a_request_arrives_as_it_was_sent(request_: m.Request) -> None:
    form = form_of(request_)
    assert form.from_wire(form.request.FromString(form.to_wire(request_).SerializeToString())) == request_


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: type(answer).__name__)
def test_an_answer_arrives_as_it_was_given(answer: m.Answer) -> None:
    message = answer_to_wire(answer)
    assert answer_from_wire(type(message).FromString(message.SerializeToString())) == answer


def test_each_kind_of_request_is_an_action_of_its_own() -> None:
    assert {type(request) for request in REQUESTS} == set(WIRE_FORMS)
    assert len({form.action for form in WIRE_FORMS.values()}) == len(WIRE_FORMS)


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_store_gives_back_what_was_saved_last(kind: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "state.json"
    store: StateStore = FileStore(str(path)) if kind == "file" else MemoryStore()

    assert store.load() is None
    store.save(Persisted(6, STATE))
    store.save(Persisted(7, STATE))
    assert store.load() == Persisted(7, STATE)
    if kind == "file":
        assert FileStore(str(path)).load() == Persisted(7, STATE)
        assert [file.name for file in tmp_path.iterdir()] == ["state.json"]


def test_a_file_that_is_no_state_is_an_error_that_names_it(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "state.json"
    path.write_text('{"term": "seven"}\n')

    with pytest.raises(ValueError, match=r"state\.json is not a saved cluster state"):
        FileStore(str(path)).load()


@pytest.mark.parametrize("finished", [[], [Persisted(6, STATE), Persisted(7, STATE)]])
def test_a_line_that_was_not_finished_was_not_kept(finished: list[Persisted], tmp_path: pathlib.Path) -> None:
    path = tmp_path / "state.json"
    first = FileStore(str(path))
    first.load()
    for persisted in [*finished, Persisted(8, STATE)]:
        first.save(persisted)
    path.write_bytes(path.read_bytes()[:-1])

    second = FileStore(str(path))
    assert second.load() == (finished[-1] if finished else None)
    second.save(Persisted(9, STATE))
    assert FileStore(str(path)).load() == Persisted(9, STATE)


def test_a_file_of_former_states_begins_anew(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "state.json"
    store = FileStore(str(path))
    store.load()
    sizes = []
    for term in range(1, 3000):
        store.save(Persisted(term, STATE))
        sizes.append(path.stat().st_size)

    assert min(sizes[1:]) < sizes[0] + 10 < 10 * sizes[0] < max(sizes) <= 1 << 20
    assert FileStore(str(path)).load() == Persisted(2999, STATE)
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]
