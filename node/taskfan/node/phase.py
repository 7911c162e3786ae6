"""The status of a replication task: in which phase it is."""

from __future__ import annotations

from taskfan.node.task import Task


class Phase:
    """Shown as the status of the task, from now on. Source: OpenSearch `ReplicationTask`."""

    __slots__ = ("name",)

    def __init__(self, task: Task, name: str = "starting") -> None:
        self.name = name
        task.status = self._status

    def _status(self) -> bytes:
        return b'{"phase":"%b"}' % self.name.encode()
