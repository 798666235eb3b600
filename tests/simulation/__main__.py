"""`python -m tests.simulation --seconds 60 --seed 1`: schedules from that seed on, in that time.

Prints what was covered, and for a failure the seed and the command that replays it.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence

HASH_SEED = "0"
FIRST_SEED = 1


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=FIRST_SEED, help="the first seed")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long")
    parser.add_argument("--count", type=int, help="how many seeds, however long they take")
    parser.add_argument("--faults", default="", help="on in every schedule, comma separated")
    parser.add_argument("--mutant", help="with a planted bug; fails unless it is found")
    parser.add_argument("--trace", action="store_true", help="print each seed's trace")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at a failure")
    options = parser.parse_args(arguments)
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        # Sets of ids have the same order in every run: a seed is one schedule everywhere.
        environment = {**os.environ, "PYTHONHASHSEED": HASH_SEED}
        os.execve(  # noqa: S606
            sys.executable, [sys.executable, "-m", "tests.simulation", *arguments], environment
        )
    from tests.simulation.campaign import hunt, run_campaign

    if options.mutant:
        return hunt(options.mutant, first_seed=options.seed, count=options.count or 200)
    deadline_s = None if options.count else time.monotonic() + options.seconds
    return run_campaign(
        first_seed=options.seed,
        faults=tuple(filter(None, options.faults.split(","))),
        count=options.count,
        deadline_s=deadline_s,
        shows_traces=options.trace,
        keeps_going=options.keep_going,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
