"""Proves conformance with HTTP/2 where h2spec is installed, and everywhere that its report is read rightly."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.conformance import h2spec
from tests.conformance.h2spec import HOW_TO_INSTALL, KNOWN, Case, Result, differences, known_failures, result_of

PROGRAM = h2spec.find_program()
REPORT = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="5.1. Stream States" package="http2/5.1" tests="3" skipped="1" failures="0" errors="1">
    <testcase package="http2/5.1" classname="idle: Sends a DATA frame" time="0.0002"></testcase>
    <testcase package="http2/5.1" classname="closed: Sends a DATA frame" time="1.0013">
      <error>Connection closed
Timeout</error>
    </testcase>
    <testcase package="http2/5.1" classname="closed: Sends a HEADERS frame" time="0"><skipped></skipped></testcase>
  </testsuite>
</testsuites>
"""
IDLE, CLOSED, SKIPPED = (
    Case("http2/5.1", what)
    for what in ("idle: Sends a DATA frame", "closed: Sends a DATA frame", "closed: Sends a HEADERS frame")
)
FOUND = Result([IDLE], [SKIPPED], {CLOSED: "Connection closed / Timeout"})


@pytest.mark.skipif(PROGRAM is None, reason="h2spec is not on the PATH, nor named by H2SPEC: see scripts/h2spec")
def test_only_those_cases_fail_that_are_listed_with_their_reasons() -> None:
    assert PROGRAM is not None
    result = asyncio.run(h2spec.run(PROGRAM))
    assert differences(result, known_failures(KNOWN.read_text())) == []
    assert len(result.passed) > 130


def test_a_report_is_read() -> None:
    assert result_of(REPORT) == FOUND


def test_what_is_as_it_is_known_differs_in_nothing() -> None:
    assert differences(FOUND, {CLOSED: "nothing is kept of it"}) == []


def test_a_new_failure_and_a_new_pass_and_a_case_that_was_not_run_are_told() -> None:
    assert differences(FOUND, {IDLE: "once", SKIPPED: "once"}) == [
        "fails: http2/5.1: closed: Sends a DATA frame (Connection closed / Timeout)",
        "passes, so it is to be taken from the list: http2/5.1: idle: Sends a DATA frame",
        "was not run, and is in the list: http2/5.1: closed: Sends a HEADERS frame",
    ]


def test_each_listed_case_has_a_reason() -> None:
    known = known_failures(KNOWN.read_text())
    assert len(known) == 5
    assert all(reason.endswith(".") for reason in known.values())


def test_without_the_program_it_is_told_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("H2SPEC", str(tmp_path / "nowhere"))
    assert h2spec.main() == 2
    assert capsys.readouterr().err == HOW_TO_INSTALL + "\n"


REPORTS = f"#!{sys.executable}\nimport sys\nopen(sys.argv[sys.argv.index('-j') + 1], 'w').write({REPORT!r})\n"


def test_what_differs_is_told_and_is_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    program = tmp_path / "h2spec"
    program.write_text(REPORTS)
    program.chmod(0o700)
    monkeypatch.setenv("H2SPEC", str(program))
    known = tmp_path / "known.yaml"
    monkeypatch.setattr(h2spec, "KNOWN", known)
    known.write_text("http2/5.1: {'closed: Sends a DATA frame': Nothing is kept of it.}")
    assert h2spec.main() == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert told.out.splitlines()[-1] == "1 passed, 1 failed, 1 skipped; known: 1"
    known.write_text("{}")
    assert h2spec.main() == 1
    assert capsys.readouterr().err == "fails: http2/5.1: closed: Sends a DATA frame (Connection closed / Timeout)\n"


def test_a_program_that_reports_nothing_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="reported nothing"):
        asyncio.run(h2spec.run("true"))
