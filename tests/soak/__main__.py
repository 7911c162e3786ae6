"""Random faults for a given time, and then nothing is left: `scripts/soak --help`."""

from __future__ import annotations

import argparse
import secrets
import sys

from tests.soak.soak import SoakFailed, soak


def main() -> int:
    """Soak, and say how it goes."""
    parser = argparse.ArgumentParser(
        prog="scripts/soak", description=__doc__, epilog="example: scripts/soak --seconds 600 --seed 7"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long faults strike and are healed (60)")
    parser.add_argument("--seed", type=int, help="of all that is left to chance; drawn unless said")
    arguments = parser.parse_args()
    seed = secrets.randbelow(2**32) if arguments.seed is None else arguments.seed
    try:
        soak(arguments.seconds, seed, lambda line: print(line, flush=True))
    except SoakFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
