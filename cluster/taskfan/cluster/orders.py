"""What a supervisor can be told to do, for all who tell it: command line, Python and HTTP."""

from __future__ import annotations

import msgspec

from taskfan.cluster.errors import ClusterError
from taskfan.cluster.fault_control import Fault, FaultControl
from taskfan.cluster.journal_control import JournalControl
from taskfan.cluster.messages import ClusterStatus, Command, FaultCommand, FaultInfo, FaultReport, FaultReports
from taskfan.cluster.running_cluster import RunningCluster
from taskfan.node.faults.rule import InvalidFault


class FaultRefused(ClusterError):
    """A fault that cannot be meant; `field` names what is wrong with it. Nothing was changed."""

    exit_status = 2

    def __init__(self, error: InvalidFault) -> None:
        reason = str(error)
        super().__init__(f"The fault was refused: {reason}{'' if reason.endswith('?') else '.'}")
        self.field = error.field


class Orders:
    """Carries out orders on one cluster."""

    def __init__(self, cluster: RunningCluster) -> None:
        self.cluster = cluster
        self.faults = FaultControl(cluster)
        self.journals = JournalControl(cluster)

    async def carry_out(self, command: Command) -> ClusterStatus:
        """Do it, and tell how the cluster then is. Raises ClusterError."""
        cluster = self.cluster
        match command.verb:
            case "status":
                pass
            case "ready":
                await cluster.check_ready()
            case "journal_on" | "journal_off":
                await self.journals.tell(command.node, on=command.verb == "journal_on")
            case "journal_flush":
                await self.journals.tell(command.node)
            case "add":
                await cluster.add_node(command.node, command.settings)
            case "remove":
                members = [cluster.find(name) for name in command.node.split(",")]
                for member in members:
                    await self.faults.collect(member)
                await cluster.remove_nodes(members)
            case verb:
                member = cluster.find(command.node)
                if verb in ("stop", "restart", "kill"):
                    # What faults did there would be forgotten with the process.
                    await self.faults.collect(member)
                verbs = {
                    "start": cluster.start_node,
                    "stop": cluster.stop_node,
                    "restart": cluster.restart_node,
                    "kill": cluster.kill_node,
                    "pause": cluster.pause_node,
                    "resume": cluster.resume_node,
                }
                await verbs[verb](member)
        status = cluster.status()
        status.faults = self.faults.ids
        return status

    async def carry_out_fault(self, command: FaultCommand) -> FaultReports:
        """Do it, and tell of the faults it was about. Raises ClusterError."""
        try:
            return FaultReports(await self._fault(command))
        except InvalidFault as error:
            raise FaultRefused(error) from None

    async def _fault(self, command: FaultCommand) -> list[FaultReport]:
        faults = self.faults
        match command.verb:
            case "add":
                return [_set(await faults.add(command.rules, command.name))]
            case "shape":
                return [_set(await faults.add_shape(command.shape, command.values, command.link, command.name))]
            case "change":
                return [_set(await faults.change(command.fault, command.values))]
            case "remove":
                return [await faults.remove(command.fault)]
            case "hits":
                return [await faults.hits(command.fault)]
            case "list":
                return await faults.all()
            case "reset":
                await faults.reset()
            case "heal":
                await faults.heal()
        return []


def _set(fault: Fault) -> FaultReport:
    rules = [msgspec.to_builtins(rule) for rule in fault.rules]
    return FaultReport(FaultInfo(fault.id, fault.name, rules, fault.set_at_ms))
