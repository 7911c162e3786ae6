"""What supervisor and members say to one another of faults, over the socket pair that no fault touches."""

from __future__ import annotations

import msgspec

from taskfan.node.faults.decide import Hit, NumberedRule

# Hits in one message: what one line of the channel holds several times.
MOST_HITS_TOLD = 4000


class SetFaults(msgspec.Struct, tag="set_faults"):
    """All the rules that a member is to obey from now on. `version` grows with each change."""

    version: int
    rules: list[NumberedRule]


class FaultsSet(msgspec.Struct, tag="faults_set"):
    """The member obeys the rules of this version."""

    version: int


class AskHits(msgspec.Struct, tag="ask_hits"):
    """What was spoiled here under the rules of this fault?"""

    number: int
    fault: str


class HitsTold(msgspec.Struct, tag="hits"):
    """The answer: how many messages and links were spoiled, and the first of them."""

    number: int
    fault: str
    count: int
    hits: list[Hit]
