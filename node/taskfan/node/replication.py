"""Operations that go to the primary of a shard and from there to its other copies: `[s]`, `[s][p]` and `[s][r]`.

Source: OpenSearch `TransportReplicationAction`, its `ReroutePhase`, `AsyncPrimaryAction` and `AsyncReplicaAction`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from taskfan.node.action import Action, ActionContext
from taskfan.node.cluster_state import ClusterState
from taskfan.node.errors import IndexNotFound, NodeDisconnected, NodeNotConnected, TaskfanError
from taskfan.node.index.active_shards import ActiveShardCount, primary_not_active
from taskfan.node.index.errors import IllegalState, ShardId, ShardNotFound
from taskfan.node.index.metadata import ShardRouting
from taskfan.node.phase import Phase
from taskfan.node.replicas import replicate
from taskfan.node.shards import LocalShard, shard_from_wire
from taskfan.node.state_observer import StateObserver
from taskfan.node.task import TaskTraits
from taskfan.node.task_json import human_duration
from taskfan.v1 import indices_pb2 as pb

# Failures of a primary here that another cluster state may cure.
# Source: `TransportActions.isShardNotAvailableException`.
_RETRIED_KINDS = (
    *("shard_not_found_exception", "unavailable_shards_exception", "no_shard_available_action_exception"),
    *("no_longer_primary_shard_exception", "index_not_found_exception", "index_shard_closed_exception"),
)


class _Retry(Exception):
    """This attempt failed in a way that another cluster state may cure."""

    def __init__(self, cause: TaskfanError) -> None:
        super().__init__(cause)
        self.cause = cause


class PrimaryOutcome(msgspec.Struct, frozen=True):
    """What a primary did: what its replicas are to do, if anything, and what who asked is told.

    `after` is what remains to be done here while the replicas work, such as waiting for a refresh.
    """

    for_replicas: bytes
    result: bytes
    after: Callable[[], Awaitable[None]] | None = None


class ReplicatedOperation(msgspec.Struct, frozen=True):
    """One kind of operation. `is_write`: a replica that fails is given up, for it would lack what others have.

    Args:
        name: of the action, without what is in brackets.
    """

    name: str
    on_primary: Callable[[ActionContext, LocalShard, pb.ReplicationRequest], Awaitable[PrimaryOutcome]]
    on_replica: Callable[[ActionContext, LocalShard, pb.ReplicaRequest], Awaitable[None]]
    is_write: bool = True

    @property
    def shard_action(self) -> str:
        """The action to send to whichever node; it finds the primary."""
        return f"{self.name}[s]"

    @property
    def actions(self) -> tuple[Action, ...]:
        """The three actions every node has for it."""
        request, response = pb.ReplicationRequest, pb.ReplicationResponse
        return (
            Action(self.shard_action, self._reroute, request, response, traits=_traits),
            Action(f"{self.name}[s][p]", self._primary, pb.PrimaryRequest, response, traits=_primary_traits),
            Action(f"{self.name}[s][r]", self._replica, pb.ReplicaRequest, pb.ReplicaResponse, traits=_traits),
        )

    # ------------------------------------------------------------------ [s]: find the primary

    async def _reroute(self, context: ActionContext, request: pb.ReplicationRequest) -> pb.ReplicationResponse:
        """Have the primary do it, wherever it is; while it is nowhere, wait.

        Raises:
            UnavailableShards: there is no active primary, or there are too few copies, in time.
            IndexNotFound: the index is gone.
            TaskfanError: what the primary raises.
        """
        phase, observer = Phase(context.task), StateObserver(context.node, request.timeout_millis)
        while True:
            phase.name = "routing"
            try:
                response = await self._attempt(context, phase, observer.observe(), request)
            except _Retry as retry:
                if observer.timed_out:
                    # That was the last attempt.
                    phase.name = "failed"
                    raise retry.cause from None
                phase.name = "waiting_for_retry"
                await observer.wait_for_change()
            except TaskfanError:
                phase.name = "failed"
                raise
            else:
                phase.name = "finished"
                return response

    async def _attempt(
        self, context: ActionContext, phase: Phase, state: ClusterState, request: pb.ReplicationRequest
    ) -> pb.ReplicationResponse:
        shard = shard_from_wire(request.shard)
        primary, term = _primary_of(state, shard, request)
        if primary.node_id == context.node.local.id:
            phase.name = "waiting_on_primary"
            assert primary.allocation_id is not None
            inner = pb.PrimaryRequest(request=request, allocation_id=primary.allocation_id, primary_term=term)
            return await self._ask_here(context, inner)
        node = None if primary.node_id is None else state.get(primary.node_id)
        if node is None or state.version < request.routed_by_version:
            raise _Retry(primary_not_active(shard, _timeout_text(request)))
        request.routed_by_version = state.version
        phase.name = "rerouted"
        try:
            response: pb.ReplicationResponse = await context.send(node, self.shard_action, request)
        except (NodeNotConnected, NodeDisconnected) as error:
            raise _Retry(error) from None
        return response

    async def _ask_here(self, context: ActionContext, request: pb.PrimaryRequest) -> pb.ReplicationResponse:
        try:
            response: pb.ReplicationResponse = await context.send(context.node.local, f"{self.name}[s][p]", request)
        except TaskfanError as error:
            if error.kind in _RETRIED_KINDS:
                raise _Retry(error) from None
            raise
        return response

    # ------------------------------------------------------------------ [s][p]: do it on the primary

    async def _primary(self, context: ActionContext, request: pb.PrimaryRequest) -> pb.ReplicationResponse:
        """Do it here, then on all other copies; done when they have answered.

        Raises:
            ShardNotFound: the primary is not here any more.
            UnavailableShards: too few copies are active.
        """
        phase, inner = Phase(context.task, "primary"), request.request
        shard = shard_from_wire(inner.shard)
        local = _local_primary(context, shard, request)
        table = context.node.cluster_state.indices.routing.shard(shard.index, shard.number)
        active = sum(copy.active for copy in table)
        count = ActiveShardCount.parse(inner.wait_for_active_shards or None)
        count.check(shard, active, len(table), _timeout_text(inner))
        outcome = await self.on_primary(context, local, inner)
        reached = await replicate(
            context, local, self.name, inner, outcome.for_replicas, is_write=self.is_write, meanwhile=outcome.after
        )
        phase.name = "finished"
        failures = [
            pb.ReplicaFailure(node_id=failure.node_id, error=failure.cause.to_wire().SerializeToString())
            for failure in reached.failures
        ]
        return pb.ReplicationResponse(
            total=reached.total,
            successful=reached.successful,
            failed=len(failures),
            result=outcome.result,
            failures=failures,
        )

    # ------------------------------------------------------------------ [s][r]: do it on a replica

    async def _replica(self, context: ActionContext, request: pb.ReplicaRequest) -> pb.ReplicaResponse:
        """Do it on a copy that follows.

        Raises:
            ShardNotFound: that copy is not here.
            IllegalState: the primary that sends it has been replaced.
        """
        phase, shard = Phase(context.task, "replica"), shard_from_wire(request.shard)
        local = context.node.shards.get(shard)
        if local is None or local.allocation_id != request.allocation_id:
            raise ShardNotFound(shard, f"copy [{request.allocation_id}] is not here")
        current = local.copy.primary_term
        if request.primary_term < current:
            raise IllegalState(
                f"{shard} operation primary term [{request.primary_term}] is too old (current [{current}])"
            )
        await self.on_replica(context, local, request)
        phase.name = "finished"
        return pb.ReplicaResponse()


def _traits(request: pb.ReplicationRequest | pb.ReplicaRequest) -> TaskTraits:
    return TaskTraits(request.description)


def _primary_traits(request: pb.PrimaryRequest) -> TaskTraits:
    return TaskTraits(request.request.description)


def _timeout_text(request: pb.ReplicationRequest) -> str:
    return human_duration(request.timeout_millis * 1_000_000)


def _primary_of(state: ClusterState, shard: ShardId, request: pb.ReplicationRequest) -> tuple[ShardRouting, int]:
    """The active primary and its term. Raises IndexNotFound, and _Retry while there is none."""
    index = state.indices.metadata.get(shard.index)
    if index is None or index.uuid != shard.index_uuid:
        missing = IndexNotFound(shard.index)
        raise _Retry(missing) if state.version < request.routed_by_version else missing
    primary = state.indices.routing.primary(shard.index, shard.number)
    if not primary.active:
        raise _Retry(primary_not_active(shard, _timeout_text(request)))
    return primary, index.primary_terms[shard.number]


def _local_primary(context: ActionContext, shard: ShardId, request: pb.PrimaryRequest) -> LocalShard:
    local = context.node.shards.find(shard)
    if local.allocation_id != request.allocation_id or not local.routing.primary:
        raise ShardNotFound(
            shard, f"expected allocation id [{request.allocation_id}] but found [{local.allocation_id}]"
        )
    if local.copy.primary_term != request.primary_term:
        expected, found = request.primary_term, local.copy.primary_term
        raise ShardNotFound(
            shard, f"expected allocation id [{request.allocation_id}] with term [{expected}] but found [{found}]"
        )
    return local
