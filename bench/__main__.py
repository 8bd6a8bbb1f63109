"""``python -m bench [scenario …] [--quick]``: exit code 1 when a measured run gave a wrong result."""

import argparse
import dataclasses
import sys

import uvloop

from bench import report, runner, servers
from bench.model import FULL, QUICK, Size
from bench.scenarios import SCENARIOS, scale

NAMES = (*SCENARIOS, scale.NAME)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure this server against the floor.")
    parser.add_argument(
        "scenarios", nargs="*", metavar="scenario", help=f"of {', '.join(NAMES)}; all but {scale.NAME} by default"
    )
    parser.add_argument("--quick", action="store_true", help="small counts, about two minutes in total")
    parser.add_argument("--rounds", type=int, help="boots of each server per scenario")
    parser.add_argument("--runs", type=int, help="runs that age a server (a multiple of 500)")
    parser.add_argument("--ours", choices=servers.COMMANDS, default="ours", help="put another server in our column")
    args = parser.parse_args()
    if unknown := set(args.scenarios) - set(NAMES):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    return args


def _size(args: argparse.Namespace) -> Size:
    size = QUICK if args.quick else FULL
    if args.rounds:
        size = dataclasses.replace(size, rounds=args.rounds, ageing_rounds=args.rounds, scale_rounds=args.rounds)
    if args.runs:
        size = dataclasses.replace(size, ageing_runs=max(500, args.runs))
    return size


async def _main(args: argparse.Namespace) -> int:
    servers.precompile()
    size = _size(args)
    results: list[runner.Result] = []
    for name in args.scenarios or SCENARIOS:
        result = await (scale.run(size) if name == scale.NAME else runner.run(SCENARIOS[name], size, args.ours))
        print(report.table(result), flush=True)
        results.append(result)
    print(f"\n{report.save(results)}")
    return 1 if any(result.faults for result in results) else 0


if __name__ == "__main__":
    sys.exit(uvloop.run(_main(_arguments())))
