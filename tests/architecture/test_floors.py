"""The rules of the house that a linter cannot see: pure files, one clock, one namespace."""

from __future__ import annotations

import ast
import pathlib
import re

import pytest

from tests.architecture.sources import (
    ROOT,
    file_of,
    imported_modules,
    python_files,
    says_pure,
    short,
    tree_of,
    used_names,
)

NODE, COORDINATOR = ROOT / "node/taskfan/node", ROOT / "coordinator/taskfan/coordinator"
# The files that the design calls pure, and those that call themselves so.
PURE = sorted(
    {
        *(NODE / f"{name}.py" for name in ("errors", "ids", "failures", "task", "registry", "cancellation")),
        *(NODE / f"{name}.py" for name in ("cluster_state", "action_filter", "task_json")),
        *(COORDINATOR / f"{name}.py" for name in ("node_filter", "merge", "grouping", "rest/parameters")),
        *(path for path in python_files("node", "coordinator") if says_pure(path)),
    }
)
# What a pure file may not even import: I/O, clocks, chance, threads, the environment.
IMPURE_MODULES = [
    *("asyncio", "concurrent", "contextvars", "multiprocessing", "queue", "select", "selectors", "signal", "threading"),
    *("grpc", "http.client", "http.server", "httpx", "socket", "ssl", "urllib.request", "uvloop"),
    *("io", "logging", "os", "pathlib", "shutil", "subprocess", "tempfile"),
    *("random", "secrets", "time", "uuid"),
]
# The files through which all time, chance and asyncio tasks of the two lower floors come.
DOORS = {NODE / "clock.py", NODE / "grpc_transport.py"}
BANNED_NAMES = re.compile(
    r"asyncio\.(sleep|timeout|timeout_at|wait|wait_for|as_completed|create_task|gather|ensure_future|TaskGroup|run|to_thread)"
    r"|([\w.()?]+\.)?(?<!clock\.)(call_later|call_at|run_in_executor)"
    r"|([\w.()?]*_?loop(\(\))?)\.(time|create_task)"
    r"|asyncio\.get_(running_|event_)?loop\(\)\.time"
    r"|(time|random|uuid|secrets|threading|concurrent)\.\w+(\.\w+)*"
    r"|datetime\.(datetime|date)\.(now|utcnow|today)"
    r"|os\.(urandom|getrandom|environ|getenv)"
)
# Writing a time that was given is no clock.
ALLOWED_NAMES = re.compile(r"time\.(gmtime|strftime)|datetime\.timedelta.*")


def lines(path: pathlib.Path, found: list[tuple[int, str]]) -> list[str]:
    return [f"{short(path)}:{line}: {what}" for line, what in found]


def impure_imports(path: pathlib.Path, seen: set[pathlib.Path]) -> list[str]:
    """Imports of what acts, by the file and by those of our files that it imports."""
    found: list[str] = []
    seen.add(path)
    for named in imported_modules(path):
        if any(f"{named.name}.".startswith(f"{module}.") for module in IMPURE_MODULES):
            found.append(f"{short(path)}:{named.line}: {named.name}")
        ours = file_of(named.name)
        if ours and ours not in seen and "/v1/" not in ours.as_posix():
            found += impure_imports(ours, seen)
    return found


@pytest.mark.parametrize("path", PURE, ids=short)
def test_a_pure_file_imports_nothing_that_acts(path: pathlib.Path) -> None:
    assert impure_imports(path, set()) == []


def test_the_search_for_impure_imports_sees_them_through_other_files() -> None:
    assert "node/taskfan/node/clock.py:" in " ".join(impure_imports(NODE / "node.py", set()))


@pytest.mark.parametrize("path", PURE, ids=short)
def test_a_pure_file_waits_for_nothing_and_opens_nothing(path: pathlib.Path) -> None:
    waits = ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith
    found = [(node.lineno, type(node).__name__) for node in ast.walk(tree_of(path)) if isinstance(node, waits)]
    calls = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    found += [(node.lineno, name) for node in calls if (name := ast.unparse(node.func)) in ("open", "input", "print")]
    assert lines(path, found) == []


@pytest.mark.parametrize("path", python_files("node", "coordinator"), ids=short)
def test_time_chance_and_asyncio_tasks_come_only_through_what_a_file_was_given(path: pathlib.Path) -> None:
    if path in DOORS:
        pytest.skip("a door of time")
    found = {
        (named.line, named.name)
        for named in used_names(path)
        if BANNED_NAMES.fullmatch(named.name) and not ALLOWED_NAMES.fullmatch(named.name)
    }
    assert lines(path, sorted(found)) == []


@pytest.mark.parametrize(
    ("code", "banned"),
    [
        ("import asyncio\nasyncio.sleep(1)", True),
        ("from asyncio import sleep as nap\nnap(1)", True),
        ("import asyncio\nasyncio.get_running_loop().time()", True),
        ("self._loop.call_later(1, f)", True),
        ("import time\ntime.monotonic()", True),
        ("from uuid import uuid4\nuuid4()", True),
        ("import random\nrandom.Random(4)", True),
        ("self.clock.sleep(1)", False),
        ("self.clock.spawn(work())", False),
        ("self._clock.call_later(1, f)", False),
        ("import asyncio\nasyncio.Event()", False),
        ("task.start_time", False),
        ("time.isoformat()", False),
    ],
)
def test_the_search_for_clocks_sees_what_it_should(code: str, banned: bool, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "sample.py"
    path.write_text(code)
    assert any(BANNED_NAMES.fullmatch(named.name) for named in used_names(path)) is banned


def test_taskfan_is_one_namespace_over_four_folders() -> None:
    # An __init__.py here would hide the other three roots.
    assert [
        short(p) for room in ("proto", "node", "coordinator", "cluster") for p in ROOT.glob(f"{room}/taskfan/*.py")
    ] == []
