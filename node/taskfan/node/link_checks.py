"""Whether the other end of a link is still there: when to ask, and when to give up. Pure."""

from __future__ import annotations

import enum

import msgspec


class Verdict(enum.Enum):
    """What a look at the link says."""

    LISTEN = "something came, or a check is to be repeated: wait an interval"
    CHECK = "nothing came for an interval: ask, and wait for the answer"
    GIVE_UP = "no answer to any of the checks"


class LinkChecks(msgspec.Struct):
    """Looks at a link now and then. It is asked only when nothing at all came for an interval.

    Source: OpenSearch `FollowersChecker`: interval, then check; `retry_count` checks without an answer in a row
    end it. Differs: there a check is sent in every interval; here traffic stands for it, and a link is left alone
    while nobody waits on it (as in OpenSearch, whose `transport.ping_schedule` is off by default).
    """

    interval_s: float
    timeout_s: float
    retry_count: int
    # Set by whoever receives, with each frame: a flag, because reading a clock costs more.
    heard: bool = False
    is_checking: bool = False
    _missed: int = 0

    def look(self) -> tuple[Verdict, float]:
        """What to do now, and after how many seconds to look again."""
        if self.heard:
            self.answered()
            return Verdict.LISTEN, self.interval_s
        if not self.is_checking:
            self.is_checking = True
            return Verdict.CHECK, self.timeout_s
        self.is_checking = False
        self._missed += 1
        if self._missed >= self.retry_count:
            return Verdict.GIVE_UP, 0.0
        return Verdict.LISTEN, self.interval_s

    def answered(self) -> None:
        """The other side is there: everything begins anew."""
        self.heard = self.is_checking = False
        self._missed = 0
