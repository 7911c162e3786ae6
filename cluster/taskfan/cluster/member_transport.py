"""Chooses and binds the transport of a member, as its settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskfan.cluster.config import NodeConfig
from taskfan.cluster.messages import MemberSpec
from taskfan.node.clock import Clock
from taskfan.node.file_journal import FileJournal
from taskfan.node.http2_transport import Http2Transport
from taskfan.node.transport import TransportSettings

if TYPE_CHECKING:
    from taskfan.node.grpc_transport import GrpcTransport

# Checks of a link that fail before it is given up, beyond those of fault detection: an election goes between.
LATER_LINK_CHECKS = 3
# And so many times rarer than those: in a mesh of a hundred idle nodes there are ten thousand links to look at.
LINK_CHECK_FACTOR = 10


def make_transport(spec: MemberSpec, clock: Clock, journal: FileJournal) -> tuple[Http2Transport | GrpcTransport, int]:
    """The transport of a member, and its port. Raises OSError when the port cannot be had."""
    kind: type[Http2Transport | GrpcTransport] = Http2Transport
    if spec.node.transport_type == "grpcio":
        # Only here: the library costs a process nine threads and some two megabytes.
        from taskfan.node.grpc_transport import GrpcTransport

        kind = GrpcTransport
    settings = link_settings(spec.node)
    transport = kind(spec.node_id, spec.ephemeral_id, spec.cluster_name, clock, settings, journal.lamport, journal)
    return transport, transport.bind(spec.node.host, spec.transport_port)


def link_settings(node: NodeConfig) -> TransportSettings:
    """A silent link is left to fault detection, which knows what to do about it: its own checks give up later."""
    checks = node.coordination
    return TransportSettings(
        connect_timeout_s=node.connect_timeout_s,
        local_sockets=node.local_sockets,
        check_interval_s=LINK_CHECK_FACTOR * checks.follower_check_interval_ms / 1000,
        check_timeout_s=checks.follower_check_timeout_ms / 1000,
        check_retry_count=max(checks.follower_check_retry_count, checks.leader_check_retry_count) + LATER_LINK_CHECKS,
    )
