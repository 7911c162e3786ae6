"""Makes the process of a supervisor, which loads while this one goes on: `taskfan up` makes it before anything else."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence

SUPERVISOR = "taskfan.cluster.supervisor"
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


class Spawned:
    """A supervisor that waits for its Launch on the other end of `socket`. It ends when that is closed.

    `run_id` is part of the command of all its processes, so that they can be found. `errors` is a descriptor to read
    what it writes before it has a log.
    """

    def __init__(self, module: str, name: str) -> None:
        self.name = name
        self.run_id = os.urandom(6).hex()
        self.socket, theirs = socket.socketpair()
        self.errors, their_errors = os.pipe()
        # -P: what lies in the directory a user happens to be in is no part of this.
        command = [sys.executable, "-P", "-m", module, name, str(theirs.fileno()), self.run_id]
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=their_errors,
                pass_fds=[theirs.fileno()],
                # Its own session: a Ctrl-C in the terminal is for the program there to decide on.
                start_new_session=True,
                env={**os.environ, **_ENVIRONMENT},
            )
        except BaseException:
            self.socket.close()
            os.close(self.errors)
            raise
        finally:
            theirs.close()
            os.close(their_errors)

    def discard(self) -> None:
        """End it at once, before its Launch."""
        # Its group is its own, with the fork server in it.
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.socket.close()
        os.close(self.errors)


_early: Spawned | None = None


def spawn_early(words: Sequence[str]) -> None:
    """Make the supervisor that this command will want, if it is known already that it wants one, and its name."""
    global _early
    if words[:1] == ["up"] and not any(word.startswith(_TOO_EARLY) for word in words):
        _early = Spawned(SUPERVISOR, _name_in(words))


def _name_in(words: Sequence[str]) -> str:
    # As the options are read; whoever is right in the end, a supervisor of another name is not taken.
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "--name":
            return following
        if word.startswith("--name="):
            return word.removeprefix("--name=")
    return os.environ.get("TASKFAN_NAME") or "taskfan"


def spawned(module: str, name: str) -> Spawned:
    """A supervisor for a cluster of this name: the one that was made early, or a new one."""
    global _early
    early, _early = _early, None
    if early is not None:
        if (module, name) == (SUPERVISOR, early.name):
            return early
        early.discard()
    return Spawned(module, name)


def discard_early() -> None:
    """End the one that was made early, if nobody wanted it."""
    global _early
    early, _early = _early, None
    if early is not None:
        early.discard()
