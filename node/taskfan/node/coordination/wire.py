"""The messages of coordination as they travel: one action of OpenSearch for each kind of request. Pure."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec
from google.protobuf.message import Message

from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.coordination import messages as m
from taskfan.v1 import coordination_pb2 as pb


class WireForm(msgspec.Struct, frozen=True):
    """How one kind of request and its answer travel."""

    action: str
    request: type[Message]
    response: type[Message]
    to_wire: Callable[[Any], Message]
    from_wire: Callable[[Any], m.Request]
    # The request that these bytes are. Raises DecodeError.
    read: Callable[[bytes], m.Request]


def encode_state(state: m.AcceptedState) -> bytes:
    """The bytes that carry a state."""
    return msgspec.json.encode(state)


def form_of(request: m.Request) -> WireForm:
    """How this request travels."""
    return WIRE_FORMS[type(request)]


def answer_to_wire(answer: m.Answer) -> Message:
    """The message that carries an answer."""
    match answer:
        case m.PeersResponse(leader, known_peers, term):
            leader_bytes = b"" if leader is None else _node(leader)
            return pb.PeersResponse(leader=leader_bytes, known_peers=msgspec.json.encode(known_peers), term=term)
        case m.PreVoteResponse(term, accepted_term, accepted_version):
            return pb.PreVoteResponse(term=term, accepted_term=accepted_term, accepted_version=accepted_version)
        case m.PublishResponse(term, version, join):
            return pb.PublishResponse(term=term, version=version, vote=_vote(join))
        case m.Acknowledged():
            return pb.Acknowledged()


def written_answer(answer: m.Answer) -> bytes:
    """The bytes that carry an answer."""
    return b"" if answer is m.ACKNOWLEDGED else answer_to_wire(answer).SerializeToString()


def read_answer(request: m.Request, payload: bytes) -> m.Answer:
    """The answer to this request that these bytes are. Raises DecodeError."""
    response = WIRE_FORMS[type(request)].response
    return m.ACKNOWLEDGED if response is pb.Acknowledged else answer_from_wire(response.FromString(payload))


def answer_from_wire(message: Message) -> m.Answer:
    """The answer a message carries."""
    match message:
        case pb.PeersResponse():
            leader = _read_node(message.leader) if message.leader else None
            peers = msgspec.json.decode(message.known_peers, type=tuple[DiscoveryNode, ...])
            return m.PeersResponse(leader, peers, message.term)
        case pb.PreVoteResponse():
            return m.PreVoteResponse(message.term, message.accepted_term, message.accepted_version)
        case pb.PublishResponse():
            return m.PublishResponse(message.term, message.version, _read_vote(message))
        case _:
            return m.ACKNOWLEDGED


def _node(node: DiscoveryNode) -> bytes:
    return msgspec.json.encode(node)


def _read_node(data: bytes) -> DiscoveryNode:
    return msgspec.json.decode(data, type=DiscoveryNode)


def _vote(join: m.Join | None) -> pb.Vote | None:
    if join is None:
        return None
    return pb.Vote(
        source_node=_node(join.source),
        target_node_id=join.target_id,
        term=join.term,
        accepted_term=join.accepted_term,
        accepted_version=join.accepted_version,
    )


def _read_vote(message: pb.JoinRequest | pb.PublishResponse) -> m.Join | None:
    if not message.HasField("vote"):
        return None
    vote = message.vote
    return m.Join(
        _read_node(vote.source_node), vote.target_node_id, vote.term, vote.accepted_term, vote.accepted_version
    )


def _form(
    kind: type, action: str, to_wire: Callable[[Any], Message], from_wire: Callable[[Any], m.Request]
) -> tuple[type, WireForm]:
    request, response = getattr(pb, kind.__name__), _RESPONSES.get(kind, pb.Acknowledged)

    def read(payload: bytes) -> m.Request:
        return from_wire(request.FromString(payload))

    if kind in _CHECKS:
        read = lru_cache(_MOST_READ_CHECKS)(read)
    return kind, WireForm(f"internal:{action}", request, response, to_wire, from_wire, read)


# They come again and again, the same bytes from each node, and are read once.
_CHECKS = (m.FollowerCheckRequest, m.LeaderCheckRequest)
_MOST_READ_CHECKS = 1024
_RESPONSES: dict[type, type[Message]] = {
    m.PeersRequest: pb.PeersResponse,
    m.PreVoteRequest: pb.PreVoteResponse,
    m.PublishRequest: pb.PublishResponse,
}
WIRE_FORMS: dict[type, WireForm] = dict(
    [
        _form(
            m.PeersRequest,
            "discovery/request_peers",
            lambda r: pb.PeersRequest(source_node=_node(r.source)),
            lambda r: m.PeersRequest(_read_node(r.source_node)),
        ),
        _form(
            m.PreVoteRequest,
            "cluster/request_pre_vote",
            lambda r: pb.PreVoteRequest(
                source_node=_node(r.source),
                term=r.term,
                accepted_term=r.accepted_term,
                accepted_version=r.accepted_version,
            ),
            lambda r: m.PreVoteRequest(_read_node(r.source_node), r.term, r.accepted_term, r.accepted_version),
        ),
        _form(
            m.StartJoinRequest,
            "cluster/coordination/start_join",
            lambda r: pb.StartJoinRequest(source_node=_node(r.source), term=r.term),
            lambda r: m.StartJoinRequest(_read_node(r.source_node), r.term),
        ),
        _form(
            m.JoinRequest,
            "cluster/coordination/join",
            lambda r: pb.JoinRequest(source_node=_node(r.source), term=r.term, vote=_vote(r.join)),
            lambda r: m.JoinRequest(_read_node(r.source_node), r.term, _read_vote(r)),
        ),
        _form(
            m.PublishRequest,
            "cluster/coordination/publish_state",
            lambda r: pb.PublishRequest(source_node=_node(r.source), state=encode_state(r.state)),
            lambda r: m.PublishRequest(_read_node(r.source_node), msgspec.json.decode(r.state, type=m.AcceptedState)),
        ),
        _form(
            m.ApplyCommitRequest,
            "cluster/coordination/commit_state",
            lambda r: pb.ApplyCommitRequest(source_node=_node(r.source), term=r.term, version=r.version),
            lambda r: m.ApplyCommitRequest(_read_node(r.source_node), r.term, r.version),
        ),
        _form(
            m.FollowerCheckRequest,
            "coordination/fault_detection/follower_check",
            lambda r: pb.FollowerCheckRequest(
                source_node=_node(r.source), term=r.term, target_ephemeral_id=r.target_ephemeral_id
            ),
            lambda r: m.FollowerCheckRequest(_read_node(r.source_node), r.term, r.target_ephemeral_id),
        ),
        _form(
            m.LeaderCheckRequest,
            "coordination/fault_detection/leader_check",
            lambda r: pb.LeaderCheckRequest(source_node=_node(r.source)),
            lambda r: m.LeaderCheckRequest(_read_node(r.source_node)),
        ),
    ]
)
