"""Runs h2spec against our HTTP/2 server and compares what fails with what is known to: `tests.conformance.h2spec`.

h2spec asks for pages and does not speak gRPC. So here whatever it asks counts as a call of gRPC, and each call is
answered with a message, a moment after its last: what h2spec sends behind a request is there before the answer.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import yaml
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue

from taskfan.node.clock import SystemClock
from taskfan.node.http2 import headers
from taskfan.node.http2_transport import Http2Transport
from taskfan.node.rpc import Method
from taskfan.node.transport import Answered, InboundLink, Request

KNOWN = Path(__file__).with_suffix(".yaml")
VARIABLE, PROGRAM = "H2SPEC", "h2spec"
HOW_TO_INSTALL = f"""\
There is no program {PROGRAM}, which tests servers of HTTP/2. With Go it is installed by
    go install github.com/summerwind/h2spec/cmd/h2spec@latest
into $(go env GOPATH)/bin. Put that on the PATH, or say {VARIABLE}=/path/to/h2spec."""
HOST = "127.0.0.1"
# Of one case, when the answer that it wants does not come; and of all of them.
CASE_LIMIT_S, LIMIT_S = 1, 240
ANSWER_AFTER_S = 0.05
NOTHING_THERE, DIFFERS = 2, 1


class Case(NamedTuple):
    """One case of h2spec: the section that it is about, and what it does."""

    section: str
    what: str

    def __str__(self) -> str:
        return f"{self.section}: {self.what}"


class Result(NamedTuple):
    """What became of the cases: of those that failed, what was wanted and what came."""

    passed: list[Case]
    skipped: list[Case]
    failed: dict[Case, str]


def find_program() -> str | None:
    """The path of h2spec; None where there is none."""
    return shutil.which(os.environ.get(VARIABLE) or PROGRAM)


async def run(program: str) -> Result:
    """Have it test a transport of this process. Raises TimeoutError, and RuntimeError when it told nothing."""
    clock = SystemClock()
    transport = Http2Transport("tested", "tested", "h2spec", clock)
    port = transport.bind(HOST, 0)
    transport.add_services(lambda: {"/": Method("/", StringValue, _answer, takes_many=True, gives_many=False)})
    with mock.patch.object(headers, "is_grpc", return_value=True), tempfile.TemporaryDirectory() as directory:
        await transport.start(_Nobody())
        try:
            report = Path(directory) / "report.xml"
            told = await _executed(program, port, report)
            return _read(report, program, told)
        finally:
            await transport.close()
            await clock.close()


async def _answer(requests: AsyncIterator[Message]) -> Message:
    async for _ in requests:
        pass
    await asyncio.sleep(ANSWER_AFTER_S)
    return StringValue(value="answered")


class _Nobody:
    """Who is given requests of links: there are none."""

    def receive(self, request: Request, link: InboundLink, answered: Answered) -> None:
        """See `Receiver`."""
        raise AssertionError("h2spec opens no links")


async def _executed(program: str, port: int, report: Path) -> str:
    words = ["--strict", "-h", HOST, "-p", str(port), "-o", str(CASE_LIMIT_S), "-j", str(report)]
    process = await asyncio.create_subprocess_exec(program, *words, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(LIMIT_S):
            told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return told.decode(errors="replace")


def _read(report: Path, program: str, told: str) -> Result:
    if not report.exists():
        raise RuntimeError(f"{program} reported nothing:\n{told[-2000:]}")
    return result_of(report.read_text())


def result_of(report: str) -> Result:
    """Read what h2spec reports, which is JUnit's XML."""
    result = Result([], [], {})
    for element in ElementTree.fromstring(report).iter("testcase"):
        case = Case(element.get("package", ""), element.get("classname", ""))
        problem = next((child for child in element if child.tag in ("error", "failure")), None)
        if problem is not None:
            result.failed[case] = " / ".join((problem.text or "").split("\n"))
        elif element.find("skipped") is not None:
            result.skipped.append(case)
        else:
            result.passed.append(case)
    return result


def known_failures(text: str) -> dict[Case, str]:
    """The cases that fail by choice, and why: a map from sections to maps from cases to reasons."""
    return {
        Case(section, what): " ".join(reason.split())
        for section, cases in yaml.safe_load(text).items()
        for what, reason in cases.items()
    }


def differences(result: Result, known: Mapping[Case, str]) -> list[str]:
    """One sentence for each case that is not as it is known: what fails and should not, and the other way round."""
    fails = [f"fails: {case} ({problem})" for case, problem in result.failed.items() if case not in known]
    passes = [f"passes, so it is to be taken from the list: {case}" for case in result.passed if case in known]
    were_run = {*result.passed, *result.failed}
    missing = [f"was not run, and is in the list: {case}" for case in known if case not in were_run]
    return [*fails, *passes, *missing]


def main() -> int:
    """Run it, and tell what differs. Returns the exit status."""
    program = find_program()
    if program is None:
        print(HOW_TO_INSTALL, file=sys.stderr)
        return NOTHING_THERE
    result, known = asyncio.run(run(program)), known_failures(KNOWN.read_text())
    for case, problem in result.failed.items():
        print(f"{case}\n    {problem}\n    {known.get(case, '')}".rstrip())
    told = differences(result, known)
    for sentence in told:
        print(sentence, file=sys.stderr)
    print(
        f"{len(result.passed)} passed, {len(result.failed)} failed, {len(result.skipped)} skipped; known: {len(known)}"
    )
    return DIFFERS if told else 0


if __name__ == "__main__":
    sys.exit(main())
