"""That the random network would notice: each break of a rule that coordination rests on makes some seed fail."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable

import pytest

from taskfan.node.coordination import coordinator, leadership, modes, state, updates, voting
from tests.node.coordination.core_cluster import random_core_history
from tests.node.coordination.random_network import RandomNetwork

# A break is found by the end of this many histories, or counts as not found.
CORE_SEEDS, NETWORK_SEEDS = 1000, 200
# What is broken, where, and how: a piece of source and what stands there instead.
MUTATIONS: dict[str, tuple[types.ModuleType, str, str]] = {
    "two votes in one term": (
        state,
        'term > self.term, f"incoming term {term} not',
        'term >= self.term, f"incoming term {term} not',
    ),
    "a vote for an older state": (
        state,
        "(join.accepted_term, join.accepted_version) <= (accepted.term, accepted.version)",
        "True",
    ),
    "half of the votes are enough": (voting, "> len(self.node_ids)", ">= len(self.node_ids)"),
    "committed with the first acceptance": (state, "if self.is_publish_quorum(self._publish_votes):", "if True:"),
    "a state of an old term is accepted": (
        state,
        "state, accepted = request.state, self.accepted\n        _require(state.term == self.term,",
        "state, accepted = request.state, self.accepted\n        _require(True,",
    ),
    "an older state is accepted": (state, "state.term > accepted.term or state.version > accepted.version", "True"),
    "a commit of another state is taken": (
        state,
        "(commit.term, commit.version) == (accepted.term, accepted.version)",
        "True",
    ),
    "votes from before a restart count": (state, 'self._started_join_since_restart, "', 'True, "'),
    "the old voters are not asked to commit": (
        state,
        "committed.has_quorum(votes) and published.has_quorum(votes)",
        "published.has_quorum(votes)",
    ),
    "voters change before the last change is committed": (
        updates,
        "if core.accepted.committed_configuration != current:\n        return current",
        "",
    ),
    "a term is forgotten in a restart": (coordinator, "self.core.term != self._persisted.term or ", ""),
    "a new leader begins at an old term": (
        modes,
        "max(self.core.term, self._max_term_seen) + 1",
        "max(self.core.term, 1)",
    ),
}


def breaks(module: types.ModuleType, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a changed copy of each class and function of a module in the place of the true one."""
    source = inspect.getsource(module)
    assert source.count(old) == 1, f"{old!r} is {source.count(old)} times in {module.__name__}"
    changed = types.ModuleType(module.__name__)
    changed.__dict__["__file__"] = module.__file__
    exec(compile(source.replace(old, new), module.__file__ or "", "exec"), changed.__dict__)
    for name, value in vars(changed).items():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if isinstance(value, types.FunctionType):
            monkeypatch.setattr(module, name, value)
            for user in (leadership, modes, updates):
                if hasattr(user, name):
                    monkeypatch.setattr(user, name, value)
        elif isinstance(value, type):
            for member, function in vars(value).items():
                if isinstance(function, types.FunctionType) and not member.startswith("__"):
                    monkeypatch.setattr(getattr(module, name), member, function)


@pytest.mark.parametrize("what", MUTATIONS)
def test_a_random_history_finds_this_break(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    breaks(*MUTATIONS[what], monkeypatch)
    assert any(fails(functools.partial(random_core_history, seed)) for seed in range(CORE_SEEDS)) or any(
        fails(RandomNetwork(seed).play) for seed in range(NETWORK_SEEDS)
    )


def fails(history: Callable[[], object]) -> bool:
    """Whether it raises anything: an invariant, or a refusal that nobody expects."""
    try:
        history()
    except Exception:
        return True
    return False
