"""Finds the project's own files and what Python files name and import, for the tests beside it."""

from __future__ import annotations

import ast
import dataclasses
import functools
import pathlib
import re
import subprocess
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROOMS = ("node", "coordinator", "cluster")


@dataclasses.dataclass(frozen=True, slots=True)
class Named:
    """One dotted name as the file's imports resolve it, such as `asyncio.sleep`, and where it stands."""

    name: str
    line: int


def committed_files() -> list[pathlib.Path]:
    """Every file that git knows, or that waits to be added; outside a checkout, every file that is no byproduct."""
    asked = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60)
    if listed.returncode:
        return sorted(path for path in ROOT.rglob("*") if path.is_file() and not _is_byproduct(path))
    return [ROOT / name for name in sorted(listed.stdout.split("\0")) if name and (ROOT / name).is_file()]


def _is_byproduct(path: pathlib.Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(ROOT).parts)


def python_files(*rooms: str) -> list[pathlib.Path]:
    """The hand-written Python files of these top-level folders."""
    return [path for room in rooms for path in sorted((ROOT / room).rglob("*.py")) if "/v1/" not in path.as_posix()]


def says_pure(path: pathlib.Path) -> bool:
    """Whether the file's docstring says that it is pure, in a sentence of its own."""
    return re.search(r"\bPure[.,:]", ast.get_docstring(tree_of(path)) or "") is not None


@functools.cache
def tree_of(path: pathlib.Path) -> ast.Module:
    """The syntax tree of one file."""
    return ast.parse(path.read_text(), str(path))


def imported_modules(path: pathlib.Path) -> Iterator[Named]:
    """Every module a file imports, also inside functions; imports only for type checkers do not count."""
    hidden = set(_type_checking_nodes(tree_of(path)))
    for node in ast.walk(tree_of(path)):
        if node in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (Named(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (Named(f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def _type_checking_nodes(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from (inner for statement in node.body for inner in ast.walk(statement))


def used_names(path: pathlib.Path) -> Iterator[Named]:
    """Every dotted name a file uses. What is imported is written out in full: `wait` after `from asyncio import
    wait` is `asyncio.wait`; anything else begins with `?.`."""
    known = _imported_as(tree_of(path))
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute | ast.Name):
            head, *rest = ast.unparse(node).split(".")
            if head in known:
                yield Named(".".join([known[head], *rest]), node.lineno)
            elif isinstance(node, ast.Attribute):
                yield Named(f"?.{ast.unparse(node)}", node.lineno)


def file_of(module: str) -> pathlib.Path | None:
    """The file of one of our modules, or of the module that holds this name; None for a module of others."""
    for name in (module, module.rpartition(".")[0]):
        parts = name.split(".")
        if parts[0] == "taskfan" and len(parts) > 1:
            base = ROOT / parts[1] / "/".join(parts)
            for path in (base.with_suffix(".py"), base / "__init__.py"):
                if path.is_file():
                    return path
    return None


def _imported_as(tree: ast.Module) -> dict[str, str]:
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                known[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return known


def short(path: pathlib.Path) -> str:
    """The path as a reader of the project writes it."""
    return path.relative_to(ROOT).as_posix()
