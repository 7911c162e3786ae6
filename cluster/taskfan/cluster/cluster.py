"""`Cluster`: a cluster of real processes, for scripts and tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from taskfan.cluster.cluster_node import ClusterNode, ClusterNodes
from taskfan.cluster.config import ClusterConfig, Options, cluster_config, read_config_file, read_plan
from taskfan.cluster.errors import ClusterError
from taskfan.cluster.launch import PATIENCE_S, Control, Launched
from taskfan.cluster.leaks import Footprint
from taskfan.cluster.messages import ClusterStatus, FaultCommand, FaultReport, Progress, Verb
from taskfan.cluster.rest_client import ask
from taskfan.cluster.state_directory import RunRecord, StateDirectory

if TYPE_CHECKING:
    from taskfan.cluster.faults import Faults
    from taskfan.cluster.merged_journal import MergedJournal

# What this process started and did not stop; the pytest plugin looks here for what a test forgot.
live_clusters: dict[str, Cluster] = {}
# The same with those that were stopped, for a look whether all of it is gone.
footprints: list[Footprint] = []
# The logs of the cluster that an exception ended last: its directory is gone when somebody wants to know why.
last_words: dict[str, list[str]] = {}


class Cluster:
    """A cluster that lives as long as a `with` block, and no longer than this process.

        with Cluster(nodes=5) as cluster:
            requests.get(cluster.url + "/_tasks")
            cluster.nodes[1].kill()

    Args:
        nodes: how many, 3 unless a config says otherwise.
        coordinating_only: how many more, without roles.
        name: the cluster's name in answers. Clusters of one name do not meet.
        any_port: let the system choose the ports, so that clusters can run side by side. Otherwise they count from
            `http_port` (9200) and `transport_port` (9300), plus `port_offset`.
        config: path of a YAML file, or its content: `cluster` is a map of settings, `nodes` a list of such maps.
        node_name: template for the names of nodes; `{n}` counts from 1.
        time_scale: factor on the times of checks: 0.1 notices a silent node ten times sooner.
        mesh: whether it is ready only when every node has its link to every other; otherwise each is opened when it is
            first needed. Nodes that are added open theirs too.
        journal: whether nodes note what happens to them from the first moment on; see `journal` and `switch_journal`.
        settings: settings of the whole cluster and all nodes, under OpenSearch's names.
        directory: keeps node ids and logs there; by default a directory that is removed at the end.

    Raises:
        ConfigError: something of this cannot be meant; nothing was started.
    """

    def __init__(
        self,
        nodes: int | None = None,
        *,
        coordinating_only: int = 0,
        name: str | None = None,
        any_port: bool = True,
        http_port: int | None = None,
        transport_port: int | None = None,
        port_offset: int = 0,
        config: str | Path | Mapping[str, object] | None = None,
        node_name: str = "opensearch-node{n}",
        time_scale: float | None = None,
        mesh: bool | None = None,
        journal: bool | None = None,
        settings: Mapping[str, object] | None = None,
        directory: str | Path | None = None,
    ) -> None:
        options = Options(
            nodes=nodes,
            coordinating_only=coordinating_only,
            name=name,
            http_port=http_port,
            transport_port=transport_port,
            port_offset=port_offset,
            any_port=any_port and http_port is None and transport_port is None,
            node_name=node_name,
            time_scale=time_scale,
            mesh=mesh,
            journal=journal,
            settings=settings,
            config=read_config_file(str(config)) if isinstance(config, str | Path) else config,
            config_name=str(config) if isinstance(config, str | Path) else "config",
        )
        self._config: ClusterConfig | None = cluster_config(options)
        self._directory = None if directory is None else str(directory)
        self._launched: Launched | None = None
        self._reset()

    @classmethod
    def kept(cls, **options: Any) -> Self:
        """One whose directory has its name, whoever gave it, so that `attach` and `taskfan --name` find it.

        Args:
            options: those of `Cluster`, but for `directory`.

        Raises ConfigError, as `Cluster` does.
        """
        self = cls(**options)
        assert self._config is not None
        self._directory = str(StateDirectory.named(self._config.name).path)
        return self

    def _reset(self) -> None:
        self._control: Control | None = None
        self._last: ClusterStatus | None = None
        self._nodes: list[ClusterNode] = []
        self._faults: Faults | None = None
        self._lock = threading.Lock()

    @classmethod
    def attach(cls, name: str = "taskfan") -> Self:
        """The cluster of that name that `taskfan up` started. Leaving a `with` block leaves it running.

        Raises ClusterError when it does not run.
        """
        self = cls.__new__(cls)
        self._config, self._directory, self._launched = None, None, None
        self._reset()
        self._control = Control.connect(name)
        self._take(self._control.ask("status"))
        return self

    # ------------------------------------------------------------------ from start to stop

    def start(self, on_progress: Callable[[Progress], None] | None = None) -> Self:
        """Start it, and return when it is ready: every node has answered over its ports.

        Raises:
            ClusterError: why it could not; nothing of it is left.
        """
        if self._config is None:
            raise ClusterError("This cluster was started by somebody else.")
        if self._control is not None:
            raise ClusterError("This cluster runs already.")
        launched = Launched.start(self._config, self._directory)
        # The limits of the start itself are the supervisor's, who can say what it waits for.
        status = launched.wait_until_ready(PATIENCE_S + 30 + 0.3 * len(self._config.nodes), on_progress)
        try:
            socket_path = StateDirectory(Path(status.directory)).socket_path
            self._control = Control.connect_to(RunRecord(status.supervisor_pid, socket_path))
            if self._control is None:
                raise ClusterError("The supervisor ended as soon as it had started.")
        except BaseException:
            launched.stop()
            raise
        self._launched = launched
        live_clusters[launched.run_id] = self
        footprints.append(Footprint(launched.run_id, status.directory if status.temporary else None))
        self._take(status)
        return self

    def stop(self) -> None:
        """Stop it and return when nothing of it is left, whoever started it. Twice is fine."""
        control, self._control = self._control, None
        if self._launched is not None:
            live_clusters.pop(self._launched.run_id, None)
            self._launched.stop()
            self._launched = None
        elif control is not None:
            control.down()
        if control is not None:
            control.close()

    def release(self, ends_with: int = 0) -> None:
        """Let it outlive this process: `Cluster.attach` or `taskfan down` finds it by its directory's name.

        Args:
            ends_with: the id of another process with which it ends, where the system tells of that (Linux).
        """
        if self._launched is not None:
            live_clusters.pop(self._launched.run_id, None)
            self._launched.release(ends_with)
            self._launched = None

    def wait_for_end(self) -> None:
        """Return when somebody else has stopped it. Raises ClusterError when it ended for another reason."""
        if self._launched is not None:
            self._launched.wait_for_end()

    def close(self) -> None:
        """Stop it if this object started it; otherwise let go of it."""
        if self._launched is not None:
            self.stop()
        elif self._control is not None:
            self._control.close()
            self._control = None

    def __enter__(self) -> Self:
        return self if self._control is not None else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit(error)

    def _exit(self, error: BaseException | None) -> None:
        if error is not None:
            if self._faults is not None:
                self._faults.note_in(error)
            last_words.clear()
            last_words.update(self.last_log_lines())
        self.close()

    async def __aenter__(self) -> Self:
        import asyncio

        return self if self._control is not None else await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import asyncio

        await asyncio.to_thread(self._exit, error)

    # ------------------------------------------------------------------ what it is

    def __repr__(self) -> str:
        if self._last is None:
            return "<Cluster, not started>"
        return f"<Cluster {self._last.name}: {len(self._nodes)} nodes, {self._last.nodes[0].url}>"

    def _take(self, status: ClusterStatus) -> None:
        self._last = status
        known = {node.id: node for node in self._nodes}
        self._nodes = [known.get(node.id) or ClusterNode(self, node) for node in status.nodes]

    @property
    def nodes(self) -> ClusterNodes:
        """Its nodes, in the order of their numbers, stopped ones too. Keys are numbers from 0, names and ids."""
        return ClusterNodes(self._nodes)

    def node(self, node: str | ClusterNode) -> ClusterNode:
        """The node of that name or id; a node is itself. Raises ClusterError."""
        return self.nodes[node] if isinstance(node, str) else node

    @property
    def name(self) -> str:
        """Its name in answers."""
        return self._known().name

    @property
    def directory(self) -> Path:
        """Where its logs are, while it runs."""
        return Path(self._known().directory)

    @property
    def url(self) -> str:
        """The URL of a node that runs, the first if it does."""
        known = self._known().nodes
        return next((node.url for node in known if node.state == "running"), known[0].url)

    @property
    def urls(self) -> list[str]:
        """The URLs of all nodes."""
        return [node.url for node in self._nodes]

    @property
    def supervisor_pid(self) -> int:
        """The process that runs it."""
        return self._known().supervisor_pid

    @property
    def is_running(self) -> bool:
        """Whether it was started, and not stopped from here."""
        return self._control is not None

    def _known(self) -> ClusterStatus:
        if self._last is None:
            raise ClusterError("This cluster was not started: use it in a `with` block, or call start().")
        return self._last

    def _running(self) -> Control:
        self._known()
        if self._control is None:
            raise ClusterError("This cluster does not run.")
        return self._control

    def status(self) -> ClusterStatus:
        """How the supervisor sees it now."""
        return self.command("status")

    def command(self, verb: Verb, node: str = "", settings: Mapping[str, object] | None = None) -> ClusterStatus:
        """Have the supervisor do something; the verbs of nodes and the methods here are the usual way."""
        with self._lock:
            status = self._running().ask(verb, node, settings)
            self._take(status)
        return status

    @property
    def faults(self) -> Faults:
        """Lost messages, broken links, paused nodes and other faults, on purpose."""
        if self._faults is None:
            # Imported when it is needed: most clusters see no fault.
            from taskfan.cluster.faults import Faults

            self._faults = Faults(self)
        return self._faults

    @property
    def has_faults(self) -> bool:
        """Whether anybody used `faults` here."""
        return self._faults is not None

    def ask_faults(self, command: FaultCommand) -> list[FaultReport]:
        """Have the supervisor do something about faults; `faults` is the usual way."""
        with self._lock:
            return self._running().ask_faults(command)

    def journal(self, task: str = "", *, action: str = "", node: str = "", kind: str = "") -> MergedJournal:
        """What happened so far on all nodes that noted it, in the order of causes; see `Filter` for the arguments."""
        from taskfan.cluster.journal_files import read_journals

        self.command("journal_flush")
        return read_journals(StateDirectory(self.directory).all_journals()).only(task, action, node, kind)

    def switch_journal(self, on: bool, node: str = "") -> None:
        """Have a node, or all of them, begin or cease to note what happens."""
        self.command("journal_on" if on else "journal_off", node)

    # ------------------------------------------------------------------ what it does

    def add(self, name: str = "", **settings: object) -> ClusterNode:
        """Start one node more, and return when it is part of the cluster.

            cluster.add("data-1", **{"node.roles": ["data"], "node.attr.zone": "b"})

        Args:
            name: the next of `node_name` unless it is said.
            settings: its own, under OpenSearch's names; those of the whole cluster count as well.

        Raises:
            ClusterError: it cannot be meant, or did not start; nothing of it is left.
        """
        before = [node.id for node in self._nodes]
        self.command("add", name, settings)
        return next(node for node in self._nodes if node.id not in before)

    def wait_until_ready(self) -> None:
        """Return when every node that runs answers over its own ports, and all agree who is there."""
        self.command("ready")

    def recover(self) -> None:
        """Undo what was done to it, and return when it is whole: no fault, every node runs, all tasks are cancelled.

        Tasks that cannot be cancelled end by themselves; nodes that were added, indices and settings stay.

        Raises:
            ClusterError: it does not run, or was not whole in time.
        """
        from taskfan.cluster.whole import recover

        recover(self)

    def list_tasks(self, *, node: ClusterNode | str | None = None, **parameters: Any) -> dict[str, Any]:
        """`GET /_tasks`, from `node` or any. Parameters are OpenSearch's: `actions`, `detailed`, `group_by` …

        Raises:
            RequestFailed: the answer is an error.
        """
        answer: dict[str, Any] = ask(self._url_of(node), "GET", "/_tasks", parameters)
        return answer

    def cancel_tasks(
        self, task_id: str | None = None, *, node: ClusterNode | str | None = None, **parameters: Any
    ) -> dict[str, Any]:
        """`POST /_tasks/_cancel`, or `/_tasks/{task_id}/_cancel`. Raises RequestFailed."""
        path = "/_tasks/_cancel" if task_id is None else f"/_tasks/{task_id}/_cancel"
        answer: dict[str, Any] = ask(self._url_of(node), "POST", path, parameters)
        return answer

    def start_work(self, plan: Mapping[str, Any] | str | Path, *, node: ClusterNode | str | None = None) -> str:
        """Start simulated work and return the id of its task, without waiting for its end.

        Args:
            plan: itself, the path of its file, or the name of one that ships with taskfan, such as "search_fan_out".

        Raises:
            ConfigError: there is no such plan.
            RequestFailed: the plan cannot be carried out; the reason names the field.
        """
        body = plan if isinstance(plan, Mapping) else read_plan(str(plan))
        answer = ask(self._url_of(node), "POST", "/_taskfan/work", {"wait_for_completion": False}, body)
        return str(answer["task"])

    def _url_of(self, node: ClusterNode | str | None) -> str:
        self._running()
        return self.url if node is None else self.node(node).url

    def last_log_lines(self, count: int = 20) -> dict[str, list[str]]:
        """The end of each node's log, by node name."""
        return {node.name: node.last_log_lines(count) for node in self._nodes}
