"""What the whole suite shares: the shares of the golden suite under every run's summary."""

from __future__ import annotations

import json
import os
import signal

import hypothesis
import pytest

from tests.golden.comparison import Verdict, shares

# A busy machine is no defect, so examples have no deadline; a failing one is printed in a form to paste.
hypothesis.settings.register_profile("taskfan", deadline=None, print_blob=True)
hypothesis.settings.load_profile("taskfan")

# Also when this process is killed: a cluster of the command line would live on.
os.environ["TASKFAN_ENDS_WITH"] = str(os.getpid())

# What runs in the background of a shell ignores Ctrl-C, and so would the processes it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how much of what OpenSearch answered comes back equal, theme by theme."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    told = [
        value for report in reports if report.when == "call" for key, value in report.user_properties if key == "golden"
    ]
    verdicts = [Verdict(**verdict) for text in told for verdict in json.loads(text)]
    if verdicts:
        terminalreporter.section("golden suite: exchanges equal to those of a real OpenSearch 3.8.0")
        terminalreporter.write_line("\n".join(shares(verdicts)))
