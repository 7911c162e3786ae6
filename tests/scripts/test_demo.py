"""The demo tells its story to the end and leaves nothing running."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def members_of(marked: str) -> list[str]:
    """The processes with this text in their environment, where the system shows that."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
        try:
            if marked in path.read_text(errors="replace"):
                found.append(path.parent.name)
        except OSError:
            continue  # It has ended meanwhile, or is not ours.
    return found


def test_the_demo_shows_work_on_all_nodes_and_its_cancel_and_then_nothing_is_left() -> None:
    mark = f"TASKFAN_TEST_MARK={os.getpid()}"
    environment = os.environ | dict([mark.split("=")])
    story = subprocess.run(
        [sys.executable, "scripts/demo_story.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert story.returncode == 0, story.stderr
    told = story.stdout
    assert told.count("$ curl ") == 14
    rows = re.findall(r"^(indices:\S+) +(\S+:\d+) +(\S+) +(opensearch-node\d)$", told, re.M)
    root = rows[0][1]
    assert [(action, parent) for action, _, parent, _ in rows] == [
        ("indices:data/read/search", "-"),
        *[("indices:data/read/search[phase/query]", root)] * 3,
    ]
    assert {node for _, _, _, node in rows} == {"opensearch-node1", "opensearch-node2", "opensearch-node3"}
    assert '"cancelled" : true' in told
    assert '{"nodes":{}}\n' in told
    # Of the reindex: two slices under their leader, hurried while they ran, and as many copied as the result says.
    assert [int(number) for number in re.findall(r'"slice_id" : (\d)', told)] == [0, 1]
    assert told.count('"requests_per_second" : 400.0') == 2
    created = re.findall(r'"created" : (\d+)', told)
    assert '"canceled" : "by user request"' in told
    assert 0 < int(created[-1]) < 3000
    assert f'{{"count":{created[-1]}}}' in told
    assert members_of(mark) == []
