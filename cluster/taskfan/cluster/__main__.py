"""Starts the command line such that a Ctrl-C at any moment ends it without a word."""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> None:
    """Entry point of the command."""
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _run() -> None:
    # Imports are most of what a short command does: an interrupt may well come here.
    from taskfan.cluster.spawn import discard_early, spawn_early

    try:
        spawn_early(sys.argv[1:])
        from taskfan.cluster.cli import main as run

        run()
    finally:
        discard_early()


if __name__ == "__main__":
    main()
