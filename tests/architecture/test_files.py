"""What every committed file owes its reader."""

from __future__ import annotations

import ast
import pathlib
import re

import pytest

from tests.architecture.sources import ROOT, committed_files, python_files, short, tree_of

# Written in pieces, so that this file does not hold what it looks for.
FORBIDDEN = re.compile(
    "|".join(
        [
            "/wo" + "rk/",
            r"\.\./sha" + "red",
            "/ro" + r"ot/\.?\w",
            "/ho" + r"me/[a-z]",
            r"py" + r"pi\.org",
            r"python" + r"hosted\.org",
            r"proxy\.gol" + r"ang",
            r"registry\.n" + "pmjs",
            "opt/whe" + "els",
        ]
    )
)
NOT_CODE = re.compile(
    r"\b(" + "|".join(["cl" + "aude", "g" + "pt", "l" + "lm", "hand" + "book", "A" + "I agents?"]) + r")\b", re.I
)
BINARY = {".whl", ".png", ".gif"}
LIMIT_LINES = 400


@pytest.mark.parametrize("pattern", [FORBIDDEN, NOT_CODE], ids=["places", "words"])
def test_no_file_names_a_registry_or_a_machine_or_how_it_was_made(pattern: re.Pattern[str]) -> None:
    found = [
        f"{short(path)}: {match[0]}"
        for path in committed_files()
        if (match := pattern.search(path.read_text(errors="ignore"))) is not None and path.suffix not in BINARY
    ]
    assert found == []


@pytest.mark.parametrize("path", python_files("node", "coordinator", "cluster", "tests"), ids=short)
def test_a_file_starts_with_its_purpose_in_one_sentence(path: pathlib.Path) -> None:
    if not path.read_text().strip():
        pytest.skip("an empty package marker")
    docstring = ast.get_docstring(tree_of(path))
    assert docstring, f"{short(path)} has no docstring"
    assert docstring.split("\n\n")[0].rstrip().endswith((".", ":", "?")), docstring.splitlines()[0]


@pytest.mark.parametrize("path", python_files("node", "coordinator", "cluster", "tests"), ids=short)
def test_a_file_stays_small_enough_to_read(path: pathlib.Path) -> None:
    count = path.read_text().count("\n")
    assert count <= LIMIT_LINES


@pytest.mark.parametrize("path", [path for path in committed_files() if path.name == "README.md"], ids=short)
def test_a_link_of_a_readme_leads_somewhere(path: pathlib.Path) -> None:
    targets = re.findall(r"]\((?!https?:)([^)#]+)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_scripts_say_what_they_do_and_stay_under_forty_lines() -> None:
    for path in sorted((ROOT / "scripts").iterdir()):
        text = path.read_text().splitlines()
        assert len(text) < 40, short(path)
        assert any(line.startswith("# ") or line.startswith('"""') for line in text[:3]), short(path)


def test_constraints_are_pins_and_nothing_else() -> None:
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []
