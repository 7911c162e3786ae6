"""Starts the command line such that a Ctrl-C at any moment ends it without a word."""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> None:
    """Entry point of the command."""
    try:
        # Takes most of the time that a short command takes: an interrupt may well come here.
        from taskfan.cluster.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
