"""The process that runs one cluster: `python -m taskfan.cluster.supervisor NAME FD RUN_ID`.

It is executed, never forked from a user's process; those of a process that starts many clusters are forked from a
`template`. NAME and RUN_ID only tell people, and `leaks`, what it is. FD is a socket to whoever starts it: the first
message is Launch, and until Release the end of that socket, or of that process, is the end of the cluster. It loads
what it and its members need, forks the fork server while it has one thread and no object of gRPC, and only then starts
its event loop.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import socket
import sys
import time
import traceback
from typing import NoReturn

from taskfan.cluster.channel import BlockingChannel, ChannelClosed
from taskfan.cluster.errors import ClusterError
from taskfan.cluster.fork_server import CAN_FORK, ForkServer, MemberMain, load_member, start_fork_server
from taskfan.cluster.messages import Launch, Problem

LAUNCH_TIMEOUT_S = 10.0
# Links, clients and, while starting, two sockets for each member.
WANTED_DESCRIPTORS = 65536


def main() -> int:
    """Run a cluster from its launch to its end. Returns the exit status."""
    began_s = time.monotonic()
    # Until all is imported: it would only look at what was just made.
    gc.disable()
    raise_descriptor_limit()
    return run(socket.socket(fileno=int(sys.argv[2])), load(), began_s)


def load() -> MemberMain | None:
    """Import what a supervisor and its members do, which is much the same: once, not in each of two processes.

    Gives what members do; None where they are not forked from here, but executed.
    """
    import taskfan.cluster.supervision  # noqa: F401 - for `run`

    return load_member() if CAN_FORK else None


def run(owner: socket.socket, member_main: MemberMain | None, began_s: float) -> int:
    """Run a cluster for whoever is at the other end of that socket. Returns the exit status.

    Args:
        member_main: what `load` gave.
        began_s: monotonic time at which the start counts as begun.
    """
    fork_server = ForkServer(*start_fork_server([owner], member_main))
    channel = BlockingChannel(owner)
    try:
        return _run(channel, owner, fork_server, began_s)
    except ClusterError as error:
        problem = error
    except Exception as error:
        traceback.print_exc()
        problem = ClusterError(f"A bug in the supervisor: {type(error).__name__}: {error}.")
    fork_server.kill()
    with contextlib.suppress(ChannelClosed):
        channel.send(Problem.of(problem))
    return 1


def _run(channel: BlockingChannel, owner: socket.socket, fork_server: ForkServer, began_s: float) -> int:
    # It was loaded before there is a directory, which may be a temporary one: a kill meanwhile leaves nothing behind.
    from taskfan.cluster.supervision import supervise

    gc.enable()
    try:
        launch = channel.receive(Launch, timeout_s=LAUNCH_TIMEOUT_S)
    except (ChannelClosed, TimeoutError):
        # Whoever started this is gone already.
        fork_server.kill()
        return 1
    return supervise(launch, owner, fork_server, began_s)


def raise_descriptor_limit() -> None:
    """Let this process, and those it forks, have as many descriptors as a large cluster needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, WANTED_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def end_process(exit_status: int) -> NoReturn:
    """At once: whoever waits for the end of a connection is to find the process gone when that comes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_status)


if __name__ == "__main__":
    end_process(main())
