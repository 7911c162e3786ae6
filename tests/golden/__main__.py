"""The golden suite by hand, against any server of the tasks API: `python -m tests.golden record --help`."""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import pathlib
import sys
import time

from tests.golden.comparison import Verdict, compare_recordings, read_recording, shares
from tests.golden.exchange import send
from tests.golden.player import Player, Unplayable, script_driver
from tests.golden.scenarios import CASES, MODES, RECORDED, Choice, Json, Scenario, load_cases


def chosen(args: argparse.Namespace) -> list[Scenario]:
    """The scenarios that the command line asks for."""
    return load_cases(args.cases, Choice(args.theme, args.scenario, args.without, args.held_out))


def record(args: argparse.Namespace) -> int:
    """Play the chosen scenarios and write one file for each theme."""
    dead = [url for url in args.url if send(url, {"method": "GET", "path": "/_tasks?nodes=_local"})["status"] != 200]
    if dead:
        print(f"no tasks API at {', '.join(dead)}", file=sys.stderr)
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with Player(args.url, script_driver(args.driver) if args.driver else None) as player:
        for theme, group in itertools.groupby(chosen(args), key=lambda scenario: scenario.theme):
            played = {s.name: found for s in group if (found := _play(player, s)) is not None}
            _write(args, theme, played)
    print(f"recorded in {time.monotonic() - started:.0f} s")
    return 0


def _play(player: Player, scenario: Scenario) -> dict[str, Json] | None:
    where, begun, played = f"{scenario.theme}/{scenario.name}", time.monotonic(), None
    try:
        played = player.play(scenario)
        print(f"{where}: {len(played['exchanges'])} exchanges, {time.monotonic() - begun:.1f} s", flush=True)
    except Unplayable as missing:
        print(f"{where}: skipped, {missing}")
    except Exception as failure:  # One scenario that cannot be played must not cost the others.
        print(f"{where}: FAILED {failure!r}", file=sys.stderr)
    for warning in player.warnings:
        print(f"  warning: {warning}", file=sys.stderr)
    player.warnings.clear()
    return played


def _write(args: argparse.Namespace, theme: str, played: dict[str, dict[str, Json]]) -> None:
    """Put what was played into the theme's file, beside what is in it already, in the order of the cases."""
    path = args.out / f"{theme}.json"
    old = json.loads(path.read_text())["scenarios"] if path.exists() else []
    done = {scenario["name"]: scenario for scenario in old} | played
    about = send(args.url[0], {"method": "GET", "path": "/"}).get("body")
    version = about.get("version") if isinstance(about, dict) else None
    order = [scenario.name for scenario in load_cases(args.cases, Choice(themes=[theme]))]
    kept = [done[name] for name in order if name in done]
    document = {"theme": theme, "server": version, "scenarios": kept}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def _verdicts(args: argparse.Namespace) -> list[Verdict]:
    return compare_recordings(chosen(args), read_recording(args.golden), read_recording(args.other))


def compare(args: argparse.Namespace) -> int:
    """Print each exchange that is not equal, then the totals; exit 1 if there was one."""
    found = _verdicts(args)
    unequal = [verdict for verdict in found if verdict.outcome in ("differs", "absent")]
    print("\n".join([verdict.told() for verdict in unequal] + shares(found)))
    return int(bool(unequal))


def report(args: argparse.Namespace) -> int:
    """Print only the totals, by theme and by mode."""
    found = _verdicts(args)
    print("\n".join(shares(found)))
    modes = collections.Counter(verdict.mode for verdict in found)
    equal = [verdict for verdict in found if verdict.outcome == "equal"]
    by_mode = collections.Counter(verdict.mode for verdict in equal)
    print("by mode: " + ", ".join(f"{mode} {by_mode[mode]}/{modes[mode]}" for mode in MODES if modes[mode]))
    kept = sum(verdict.same_order for verdict in equal)
    print(f"equal ones whose JSON keys also come in the same order: {kept}/{len(equal)}")
    return 0


def list_cases(args: argparse.Namespace) -> int:
    """Print the chosen scenarios with the number of their exchanges."""
    picked = chosen(args)
    for scenario in picked:
        marks = " held-out" * scenario.held_out + "".join(f" needs:{need}" for need in scenario.needs)
        print(f"{scenario.theme}/{scenario.name}: {len(scenario.planned())}{marks}")
    print(f"{len(picked)} scenarios, {sum(len(scenario.planned()) for scenario in picked)} exchanges")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    commands = top.add_subparsers(required=True)
    for run in (record, compare, report, list_cases):
        command = commands.add_parser("list" if run is list_cases else run.__name__, help=run.__doc__)
        command.set_defaults(run=run)
        command.add_argument("--cases", type=pathlib.Path, default=CASES)
        command.add_argument("--theme", action="append", default=[], help="only this theme; may be repeated")
        command.add_argument("--scenario", action="append", default=[], help="only this scenario; may be repeated")
        command.add_argument("--held-out", choices=("only", "no", "all"), default="all")
        command.add_argument("--without", action="append", default=[], help="leave out scenarios with this need")
        if run is record:
            urls = [f"http://127.0.0.1:{port}" for port in (9200, 9201, 9202)]
            command.add_argument("--url", nargs=3, default=urls, metavar="URL")
            command.add_argument("--driver", type=pathlib.Path, help="program that starts, kills and pauses nodes")
            command.add_argument("--out", type=pathlib.Path, required=True)
        elif run is not list_cases:
            command.add_argument("golden", type=pathlib.Path, nargs="?", default=RECORDED)
            command.add_argument("other", type=pathlib.Path)
    return top


def main() -> int:
    """Run what the command line says; returns the exit status."""
    args = parser().parse_args()
    return int(args.run(args))


if __name__ == "__main__":
    sys.exit(main())
