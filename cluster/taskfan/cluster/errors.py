"""What can go wrong between a person or a script and a cluster, said so that they know what to do."""

from __future__ import annotations

from collections.abc import Sequence

# So much of a log tells why a node ended, and still fits a screen.
LAST_LINES = 20


class ClusterError(Exception):
    """The cluster did not start, or does not do what it was asked.

    Args:
        message: what was tried and what to do about it, in one sentence.
        log: path of the log that tells more, or None.
        last_lines: the end of that log.
    """

    exit_status = 1

    def __init__(self, message: str, *, log: str | None = None, last_lines: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.log = log
        self.last_lines = list(last_lines)

    def __str__(self) -> str:
        if not self.last_lines:
            return self.message if self.log is None else f"{self.message} Log: {self.log}"
        head = f"{self.message} Last lines of {self.log or 'its log'}:"
        return "\n".join([head, *(f"  {line}" for line in self.last_lines)])


class ConfigError(ClusterError):
    """A setting or argument that cannot be meant. Nothing was started."""

    exit_status = 2
