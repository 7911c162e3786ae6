"""Measures the product on this machine, which should do nothing else meanwhile. See tests/bench/README.md."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.against import against
from tests.bench.bench import Bench
from tests.bench.cancel import cancels
from tests.bench.churn import churn
from tests.bench.client_process import ClientProcess
from tests.bench.documents import documents
from tests.bench.fault_layer import fault_layer
from tests.bench.figures import Figure, read_json, table, write_json
from tests.bench.floor import ROOT
from tests.bench.lists import loads, spread
from tests.bench.memory import memory
from tests.bench.mesh import mesh
from tests.bench.plots import write_plots
from tests.bench.processes import QUIET_LOAD, load_average, machine
from tests.bench.profile import profile, profile_table
from tests.bench.registry import registry
from tests.bench.sizes import QUICK, WHOLE, Sizes
from tests.bench.start import start
from tests.bench.targets import target_table, with_targets

# Figures, and why the parts that failed did.
Run = tuple[list[Figure], dict[str, str]]
Part = Callable[[Bench], list[Figure]]
# In this order: what a busy machine spoils most comes first.
PARTS: dict[str, Part] = {
    "start": start,
    "memory": memory,
    "mesh": mesh,
    "loads": loads,
    "spread": spread,
    "churn": churn,
    "cancel": cancels,
    "registry": registry,
    "documents": documents,
    "faults": fault_layer,
}
OUT = ROOT / "build" / "bench"
FIGURES = "figures.json"


def run(parts: dict[str, Part], sizes: Sizes, out: Path, urls: tuple[str, ...] = ()) -> Run:
    """Run the parts one after the other, and write what they found. One that fails costs no other's figures."""
    begun, before = time.monotonic(), load_average()
    if before > QUIET_LOAD:
        _say(f"warning: load average {before}: something else runs here, and the figures will say so")
    figures: list[Figure] = []
    took_s: dict[str, float] = {}
    failed: dict[str, str] = {}
    with ClientProcess() as client:
        for number, (name, part) in enumerate(parts.items(), 1):
            began = time.monotonic()

            def say(line: str, prefix: str = f"[{number}/{len(parts)}] {name}") -> None:
                _say(f"{time.monotonic() - begun:5.0f} s {prefix}: {line}")

            say("begins")
            try:
                figures += part(Bench(sizes, client, say, urls))
            except Exception as error:
                traceback.print_exc()
                failed[name] = f"{type(error).__name__}: {error}"
            took_s[name] = round(time.monotonic() - began, 1)
    figures = with_targets(figures)
    about = {
        "machine": machine(),
        "sizes": sizes.name,
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "load_average": {"before": before, "after": load_average(), "quiet": before <= QUIET_LOAD},
        "parts": took_s,
        "failed": failed,
    }
    _write(about, figures, out)
    return figures, failed


def _write(about: dict[str, Any], figures: list[Figure], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_json(figures, about, out / FIGURES)
    (out / "figures.md").write_text(f"{about['machine']}, {about['when']}\n\n{table(figures)}\n")
    (out / "targets.md").write_text(target_table(about, figures) + "\n")
    if profiled := profile_table(figures):
        (out / "profile.md").write_text(profiled + "\n")
    write_plots(figures, out)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Measure what is asked for, one after the other."""
    arguments = _arguments()
    if arguments.table is not None:
        if not arguments.table.exists():
            _say(f"{arguments.table} is not there: measure first, or name the {FIGURES} of another run")
            return 1
        print(target_table(*read_json(arguments.table)))
        return 0
    urls = tuple(arguments.against.split(",")) if arguments.against else ()
    parts = {name: PARTS[name] for name in arguments.only or ()}
    if urls:
        parts["against"] = against
    if arguments.profile:
        parts["profile"] = profile
    figures, failed = run(parts or PARTS, QUICK if arguments.quick else WHOLE, arguments.out, urls)
    print(profile_table(figures) if list(parts) == ["profile"] else table(figures))
    _say(f"written to {arguments.out}")
    for name, why in failed.items():
        _say(f"failed: {name}: {why}")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, epilog="example: scripts/bench --quick --only loads"
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller clusters: about a minute")
    parser.add_argument("--only", choices=PARTS, action="append", help="may be repeated")
    parser.add_argument("--profile", action="store_true", help="where the time of one list goes, stage by stage")
    parser.add_argument(
        "--against",
        metavar="URL,URL,URL",
        help="another server of the same API, in turn with taskfan; the first is asked",
    )
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="where it is written (build/bench)")
    parser.add_argument(
        "--table",
        type=Path,
        nargs="?",
        const=OUT / FIGURES,
        metavar="FILE",
        help="measure nothing: print the table of targets from the figures of a run",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
