"""What a supervisor writes of itself, and reading from that how a cluster ended that does not run any more."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from pathlib import Path

from taskfan.cluster.state_directory import last_lines

# More than a traceback has.
_LOOKED_AT = 300
_LINE = re.compile(r"\[([\dT:-]+),\d+]\[\w+ *]\[taskfan\.supervisor] \[supervisor] (\w+)")
# After one of these everybody who had to know was told.
_EXPECTED = ("stopping", "failed")


def note(text: str, *, is_error: bool = False) -> None:
    """Write a line as members do. The first word says what happened: started, ready, stopping, failed or ended."""
    now_s = time.time()
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_s))
    head = f"[{when},{int(now_s % 1 * 1000):03}][{'ERROR' if is_error else 'INFO '}][taskfan.supervisor] [supervisor]"
    # On a full disk there is no line, and what goes wrong by that is told where it does.
    with contextlib.suppress(OSError):
        print(head, text, file=sys.stderr, flush=True)


def unexpected_end(log: Path) -> str:
    """When the last run ended that nobody had stopped, as part of a sentence; empty when there was none."""
    end = ""
    for line in reversed(last_lines(log, _LOOKED_AT)):
        found = _LINE.match(line)
        if found is None:
            continue
        when, word = found.groups()
        if word in _EXPECTED:
            return ""
        if word == "ended":
            end = f"at {when} UTC"
        if word == "started":
            # Of one that was killed, and all that was its own at the same moment, no line tells.
            return end or f"some time after {when} UTC"
    return end
