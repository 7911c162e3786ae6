"""Makes the process of a supervisor, which loads while this one goes on: `taskfan up` makes it before anything else."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

SUPERVISOR = "taskfan.cluster.supervisor"
_Socket = socket.socket
_KEPT_BYTES = str(8 << 20)
_ENVIRONMENT = {
    # One arena for the heap of a member: each thread of gRPC would make one of its own.
    "MALLOC_ARENA_MAX": "1",
    # So much of what a large answer needed stays with the member for the next. To give it back and be given it anew,
    # page by page, was half the processor time of a list of 5,000 tasks.
    "MALLOC_TRIM_THRESHOLD_": _KEPT_BYTES,
    "MALLOC_MMAP_THRESHOLD_": _KEPT_BYTES,
}
# With these words the name is not known yet, or there will be no cluster.
_TOO_EARLY = ("--config", "--help", "-h")


def can_fork() -> bool:
    """Whether a process lives on after a fork: macOS does not promise it; TASKFAN_FORK=0 does without elsewhere."""
    return sys.platform == "linux" and os.environ.get("TASKFAN_FORK") != "0"


class Process(Protocol):
    """What is wanted of a process; one of `subprocess` has it."""

    pid: int
    # Set when the end of the process was seen, or when nobody is to wait for it.
    returncode: int | Any

    def wait(self, timeout: float | None = None) -> int:
        """Return when it has ended. Raises subprocess.TimeoutExpired."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it."""


class Spawned(NamedTuple):
    """A supervisor that waits for its Launch on the other end of `socket`. It ends when that is closed.

    `run_id` is part of the command of all its processes, so that they can be found. `errors` is a descriptor to read
    what it writes before it has a log.
    """

    name: str
    run_id: str
    socket: _Socket
    errors: int
    process: Process

    @classmethod
    def by(cls, name: str, make: Callable[[str, _Socket, int], Process]) -> Spawned:
        """One that is made by this call, with its run id, its end of the socket, and where it writes errors."""
        run_id = os.urandom(6).hex()
        ours, theirs = socket.socketpair()
        errors, their_errors = os.pipe()
        try:
            process = make(run_id, theirs, their_errors)
        except BaseException:
            ours.close()
            os.close(errors)
            raise
        finally:
            theirs.close()
            os.close(their_errors)
        return cls(name, run_id, ours, errors, process)

    @classmethod
    def executed(cls, module: str, name: str) -> Spawned:
        """One that begins anew, from this module."""
        return cls.by(
            name, lambda run_id, theirs, errors: execute([module, name, str(theirs.fileno()), run_id], theirs, errors)
        )

    def discard(self) -> None:
        """End it at once, before its Launch."""
        # Its group is its own, with the fork server in it.
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.socket.close()
        os.close(self.errors)


def execute(words: Sequence[str], theirs: socket.socket, errors: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Run a module with its arguments and its end of a socket, as all processes of a cluster are."""
    return subprocess.Popen(
        # -P: what lies in the directory a user happens to be in is no part of this.
        [sys.executable, "-P", "-m", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        pass_fds=[theirs.fileno()],
        # Its own session: a Ctrl-C in the terminal is for the program there to decide on.
        start_new_session=True,
        env=environment(),
    )


def environment() -> dict[str, str]:
    """What the processes of a cluster find there."""
    return {**os.environ, **_ENVIRONMENT}


_early: Spawned | None = None


def spawn_early(words: Sequence[str]) -> None:
    """Make the supervisor that this command will want, if it is known already that it wants one, and its name."""
    global _early
    if words[:1] == ["up"] and not any(word.startswith(_TOO_EARLY) for word in words):
        _early = Spawned.executed(SUPERVISOR, _name_in(words))


def _name_in(words: Sequence[str]) -> str:
    # As the options are read; whoever is right in the end, a supervisor of another name is not taken.
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "--name":
            return following
        if word.startswith("--name="):
            return word.removeprefix("--name=")
    return os.environ.get("TASKFAN_NAME") or "taskfan"


def spawned(module: str, name: str) -> Spawned:
    """A supervisor for a cluster of this name: the one that was made early, a warm one, or one that begins anew."""
    global _early
    early, _early = _early, None
    if early is not None:
        if (module, name) == (SUPERVISOR, early.name):
            return early
        early.discard()
    if module == SUPERVISOR:
        from taskfan.cluster.warm import warm_supervisor

        if (warm := warm_supervisor(name)) is not None:
            return warm
    return Spawned.executed(module, name)


def discard_early() -> None:
    """End the one that was made early, if nobody wanted it."""
    global _early
    early, _early = _early, None
    if early is not None:
        early.discard()
