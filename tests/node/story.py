"""Transcripts: what a test does to a `FakeNetwork`, at the margin, and what follows, indented below it."""

from __future__ import annotations

import textwrap

from tests.node.fake_network import KINDS, FakeNetwork


def check_story(story: str, *nodes: str) -> FakeNetwork:
    """Play the steps of a story, and assert that what follows from each is what it says; then let all end.

    Steps: `start p on A` and `send c of p to B`, both with `, plain` or `, leaf` for the kind of task; `deliver`,
    `lose` and `refuse` a message by its text; `end c`; `give up c`; `cancel p for user`, with `, wait`; `close A>B`;
    `kill B`; `B forgets A`; `bans of B` asks which parents are banned there.
    """
    told = textwrap.dedent(story).strip().splitlines()
    network = FakeNetwork(*(nodes or ("A", "B", "C")))
    played = []
    for step in (line for line in told if not line.startswith(" ")):
        seen = len(network.log)
        play(network, step)
        network.watch.check()
        played += [step, *(f"    {line}" for line in network.log[seen:])]
    assert "\n".join(played) == "\n".join(told)
    network.settle()
    return network


def play(network: FakeNetwork, step: str) -> None:
    """Do one step, as `check_story` reads it."""
    order, _, option = step.partition(", ")
    match order.split():
        case ["start", name, "on", node]:
            network.start(name, node, KINDS[option])
        case ["send", name, "of", parent, "to", node]:
            network.send(name, parent, node, KINDS[option])
        case ["deliver", *message]:
            network.deliver(network.find(" ".join(message)))
        case ["lose", *message]:
            network.lose(network.find(" ".join(message)))
        case ["refuse", *message]:
            network.refuse(network.find(" ".join(message)))
        case ["end", name]:
            network.end(name)
        case ["give", "up", name]:
            network.give_up(name)
        case ["cancel", name, "for", caller]:
            network.cancel(name, caller, wait=option == "wait")
        case ["close", link]:
            network.close(*link.split(">"))
        case ["kill", node]:
            network.kill(node)
        case ["bans", "of", node]:
            network.log += [
                f"{network.name_at(parent)}: {why}" for parent, why in network.registries[node].bans.items()
            ]
        case [by, "forgets", node]:
            network.forget(node, by=by)
        case _:
            raise AssertionError(f"no such step: {step}")
