"""Runs the measurements and prints them as a table: `scripts/bench --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from tests.bench import measurements
from tests.bench.documents import documents
from tests.bench.fault_layer import fault_layer
from tests.bench.figures import Figure, table, write_json
from tests.bench.processes import machine

MEASUREMENTS: dict[str, Callable[[bool], list[Figure]]] = {
    "start": measurements.start,
    "memory": measurements.memory,
    "idle": measurements.idle_lists,
    "loaded": measurements.loaded_lists,
    "cancel": measurements.cancels,
    "documents": documents,
    "faults": fault_layer,
}


def main() -> int:
    """Measure what is asked for, one after the other, with nothing else running."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=__doc__,
        epilog="example: scripts/bench --quick --only idle",
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller clusters")
    parser.add_argument("--only", choices=MEASUREMENTS, action="append", help="may be repeated")
    parser.add_argument(
        "--against",
        metavar="URL,URL,URL",
        help="lists only, by the server with these nodes in turn with taskfan; the first is asked",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    arguments = parser.parse_args()
    where = machine()
    print(where, flush=True)
    figures: list[Figure] = []
    if arguments.against:
        urls = [url.rstrip("/") for url in arguments.against.split(",")]
        figures += measurements.lists_of(urls, arguments.quick)
    for name in arguments.only or (() if arguments.against else MEASUREMENTS):
        print(f"measuring: {name} …", file=sys.stderr, flush=True)
        figures += MEASUREMENTS[name](arguments.quick)
    print(table(figures))
    if arguments.json:
        write_json(figures, where, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
