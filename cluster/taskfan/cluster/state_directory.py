"""What a cluster keeps on disk: node ids and ports, logs, and how to reach its supervisor."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from taskfan.cluster.errors import LAST_LINES, ClusterError, ConfigError
from taskfan.cluster.patterns import matches

# Unix socket addresses end at 104 bytes on macOS, 108 on Linux.
MAX_SOCKET_PATH_BYTES = 100
# A log beyond this is set aside when its node starts, so that two of them are all there ever is.
MAX_LOG_BYTES = 16 << 20
# After a supervisor was killed, its fork server holds the lock for as long as it takes to kill the members.
LOCK_PATIENCE_S = 3.0

Record = TypeVar("Record", bound=msgspec.Struct)


class NodeRecord(msgspec.Struct):
    """What of a node survives a restart."""

    id: str
    http_port: int = 0
    transport_port: int = 0


class ClusterRecord(msgspec.Struct):
    """What of a cluster survives a restart."""

    cluster_uuid: str
    nodes: dict[str, NodeRecord]


class RunRecord(msgspec.Struct):
    """How to reach the supervisor that runs now."""

    pid: int
    socket: str


def state_root() -> Path:
    """Where named clusters live. XDG_STATE_HOME decides, then ~/.local/state."""
    given = os.environ.get("XDG_STATE_HOME", "")
    # A relative path there is invalid by its specification, and to be ignored.
    return (Path(given) if os.path.isabs(given) else _home() / ".local" / "state") / "taskfan"


def _home() -> Path:
    """The home of this user; an empty HOME is none, as to the shell."""
    if os.environ.get("HOME"):
        return Path.home()
    import pwd

    return Path(pwd.getpwuid(os.getuid()).pw_dir)


class StateDirectory:
    """The directory of one cluster.

    Every method that writes raises ClusterError when the disk does not let it.
    """

    def __init__(self, path: Path, *, temporary: bool = False) -> None:
        self.path = path
        self.temporary = temporary
        # Whether `prepare` made it: nothing of an earlier run is there.
        self.is_new = False
        self._lock: int | None = None

    @classmethod
    def named(cls, name: str) -> StateDirectory:
        """The directory of a named cluster; it need not exist yet. Raises ConfigError for what is no name."""
        from taskfan.cluster.settings import file_name

        try:
            return cls(state_root() / file_name(name))
        except ValueError as error:
            raise ConfigError(f"A cluster's name is {error}; not [{name}].") from None

    @classmethod
    def make_temporary(cls) -> StateDirectory:
        """A new directory of its own, removed at the end of its cluster."""
        import tempfile

        try:
            return cls(Path(tempfile.mkdtemp(prefix="taskfan-")), temporary=True)
        except OSError as error:
            raise _cannot_write(Path(tempfile.gettempdir()), error, "TMPDIR") from None

    # ------------------------------------------------------------------ paths

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def log_of(self, node_name: str) -> Path:
        """The log of a node. Names were checked: they are safe as file names."""
        return self.logs / f"{node_name}.log"

    def state_of(self, node_name: str) -> Path:
        """What a node's next process must know of the cluster."""
        return self.path / "nodes" / f"{node_name}.json"

    def journal_of(self, node_name: str) -> Path:
        """The journal of a node; there need not be one."""
        return self.path / "journal" / f"{node_name}.jsonl"

    def all_journals(self) -> list[Path]:
        """The journals there are, of node2 before that of node10."""
        journals = (self.path / "journal").glob("*.jsonl")
        return sorted(journals, key=lambda path: (len(path.name), path.name))

    def forget_journals(self) -> None:
        """Remove the journals of earlier runs: what happened in those has no order with what happens in this one."""
        import shutil

        shutil.rmtree(self.path / "journal", ignore_errors=True)

    @property
    def _lock_path(self) -> Path:
        return self.path / "supervisor.lock"

    @property
    def supervisor_log(self) -> Path:
        return self.path / "supervisor.log"

    @property
    def token_path(self) -> Path:
        """The token of the control API, for the owner of this directory only."""
        return self.path / "control.token"

    def find_logs(self, pattern: str) -> list[Path]:
        """The logs of the nodes of that name or pattern, and of the supervisor if that matches."""
        return [path for path in self.all_logs() if matches(pattern, path.stem)]

    def forget_logs_but(self, node_names: Collection[str]) -> None:
        """Remove the logs of nodes of earlier clusters; those of nodes that are there again go on."""
        for path in self.logs.glob("*.log*"):
            if path.name.removesuffix(".1").removesuffix(".log") not in node_names:
                with self.writing():
                    path.unlink()

    def all_logs(self) -> list[Path]:
        """The logs there are: the supervisor's first."""
        return [path for path in (self.supervisor_log, *sorted(self.logs.glob("*.log"))) if path.exists()]

    @property
    def socket_path(self) -> str:
        """Where the supervisor listens: here, or if that is too long for a socket, in a short private place."""
        here = str(self.path / "control.sock")
        if len(os.fsencode(here)) <= MAX_SOCKET_PATH_BYTES:
            return here
        import hashlib

        digest = hashlib.sha256(os.fsencode(here)).hexdigest()[:16]
        return str(_short_directory() / f"{digest}.sock")

    # ------------------------------------------------------------------ living in it

    def prepare(self) -> None:
        """Make the directory, readable by its owner only."""
        with self.writing():
            self.is_new = self.is_new or not self.path.exists()
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
            self.logs.mkdir(exist_ok=True)
            (self.path / "nodes").mkdir(exist_ok=True)

    def lock(self) -> None:
        """Become the one supervisor of this directory, until this process and those it forks have ended.

        The kernel lets go of the lock when they end, however they end: a stale one cannot be.

        Raises:
            ClusterError: another one lives.
        """
        deadline_s = time.monotonic() + LOCK_PATIENCE_S
        while True:
            with self.writing():
                descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_lock(descriptor):
                    break
                # Meanwhile somebody has forgotten the whole directory, and this file with it.
                self.prepare()
            except BlockingIOError:
                running = self.running()
                if (running is not None and is_alive(running.pid)) or time.monotonic() > deadline_s:
                    os.close(descriptor)
                    raise self._already_runs(running) from None
            except ClusterError:
                os.close(descriptor)
                raise
            os.close(descriptor)
            time.sleep(0.01)
        self._lock = descriptor
        self.clean_run()

    def is_locked_here(self) -> bool:
        """Whether the lock that this process holds is still that of this directory."""
        return self._lock is not None and self._is_lock(self._lock)

    def _is_lock(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._lock_path))
        except FileNotFoundError:
            return False

    def _already_runs(self, running: RunRecord | None) -> ClusterError:
        name = self.path.name
        by = f" (supervisor: process {running.pid})" if running is not None else ""
        return ClusterError(
            f"Cluster [{name}] runs already{by}: stop it with `taskfan down --name {name}`, or choose another --name."
        )

    @property
    def held_lock(self) -> int:
        """The descriptor of the lock that this process holds."""
        assert self._lock is not None
        return self._lock

    def hold(self, lock: int) -> None:
        """Hold the lock that another process took, by a descriptor of it."""
        self._lock = lock

    def unlock(self) -> None:
        """In a forked process that is not to hold the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def clean_run(self) -> None:
        """Remove what only a running supervisor needs. Twice is fine."""
        socket_path = Path(self.socket_path)
        # What nodes know of the cluster goes as well: each run begins with an election of its own.
        states = sorted((self.path / "nodes").glob("*"))
        for path in (self.path / "supervisor.json", self.token_path, socket_path, *states):
            with contextlib.suppress(OSError):
                path.unlink()
        if socket_path.parent != self.path:
            # Goes when the last of its sockets has gone.
            with contextlib.suppress(OSError):
                socket_path.parent.rmdir()

    def remove_if_temporary(self) -> None:
        """Remove a directory that was made for one cluster. Twice is fine."""
        if self.temporary:
            self.forget()

    def forget(self) -> None:
        """Remove the directory with all that is in it. Whoever does holds the lock. Twice is fine."""
        import shutil

        shutil.rmtree(self.path, ignore_errors=True)

    # ------------------------------------------------------------------ records

    def running(self) -> RunRecord | None:
        """How to reach the supervisor, if one said so; it may have died since."""
        return _read(self.path / "supervisor.json", RunRecord)

    def write_running(self, record: RunRecord) -> None:
        self._write("supervisor.json", record)

    def read_cluster(self) -> ClusterRecord | None:
        """What is known of earlier runs."""
        return _read(self.path / "cluster.json", ClusterRecord)

    def write_cluster(self, record: ClusterRecord) -> None:
        self._write("cluster.json", record)

    def _write(self, name: str, record: msgspec.Struct) -> None:
        # Written beside and moved: a reader, or the next run, never sees half of it.
        beside = self.path / f".{name}.new"
        with self.writing():
            try:
                beside.write_bytes(msgspec.json.format(msgspec.json.encode(record)))
                beside.replace(self.path / name)
            except OSError:
                beside.unlink(missing_ok=True)
                raise

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """What goes wrong within the block is that something in here cannot be written. Raises ClusterError then."""
        try:
            yield
        except OSError as error:
            raise _cannot_write(self.path, error, "TMPDIR" if self.temporary else "XDG_STATE_HOME") from None

    # ------------------------------------------------------------------ logs

    def open_log(self, path: Path) -> int:
        """A descriptor that appends to a log; one that grew too long is set aside first."""
        self.limit_log(path)
        with self.writing():
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write_supervisor_log(self) -> None:
        """From here on what this process prints goes to the supervisor's log."""
        log = self.open_log(self.supervisor_log)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)

    def limit_log(self, path: Path) -> None:
        """Set aside a log that grew too long, in place of what was set aside before."""
        with self.writing():
            if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
                path.replace(path.with_suffix(".log.1"))


def known_clusters() -> list[str]:
    """Names of the clusters that have a directory, sorted."""
    root = state_root()
    return sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def running_clusters() -> list[str]:
    """Names of the clusters whose supervisor lives."""
    records = [(name, StateDirectory(state_root() / name).running()) for name in known_clusters()]
    return [name for name, record in records if record is not None and is_alive(record.pid)]


def last_lines(path: str | Path, count: int = LAST_LINES) -> list[str]:
    """The end of a log; nothing when there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(file.tell() - 300 * count, 0))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        return []


def _read(path: Path, type: type[Record]) -> Record | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=type)
    except (OSError, msgspec.DecodeError):
        # Damaged is as good as gone: what it held is made anew.
        return None


def is_alive(pid: int) -> bool:
    """Whether there is such a process, of whatever user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _cannot_write(path: Path, error: OSError, variable: str) -> ClusterError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = f"{'Make room there, or set' if full else 'Set'} {variable} to a directory that can be written"
    return ClusterError(f"Cannot write to the state directory {path}: {error.strerror}. {remedy}.")


def _short_directory() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    path = Path(runtime) / "taskfan" if runtime else Path("/tmp") / f"taskfan-{os.getuid()}"
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES - 24:
        path = Path("/tmp") / f"taskfan-{os.getuid()}"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.lstat()
    # /tmp is everybody's: somebody else may have made that directory first.
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise ClusterError(f"{path} is not a private directory of yours: remove it, or set XDG_RUNTIME_DIR.")
    return path
