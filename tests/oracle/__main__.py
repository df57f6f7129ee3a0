"""`python -m tests.oracle`: compile the kernels' C, or compare it with the reference for as long as one likes."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial

from tests.lab.harness.errors import LabUnavailableError
from tests.oracle.cases import CASES, case_named
from tests.oracle.compare import Counts, DisagreementError, compare

EXIT_DIFFERS = 1


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m tests.oracle",
        description=__doc__,
        epilog="exit status: 1 where a kernel and the reference differ, 69 where a kernel's source cannot be had",
    )
    verbs = top.add_subparsers(dest="verb", required=True)
    verbs.add_parser("compile", help="fetch and compile what the tests need")
    running = verbs.add_parser("run", help="compare")
    running.add_argument("--operations", type=int, default=1_000_000, metavar="N", help="of each kernel and mode")
    running.add_argument("--seed", type=int, help="as a failed run printed it; else a new one")
    running.add_argument("--jobs", type=int, default=1, metavar="N", help="kernels and modes compared at the same time")
    running.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(case.name for case in CASES)}")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    unknown = set(options.cases if options.verb == "run" else ()) - {case.name for case in CASES}
    if unknown:
        print(f"oracle: there is no case {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    try:
        if options.verb == "compile":
            for case in CASES:
                print(case.kernel().directory)
            return 0
        return _run(options)
    except LabUnavailableError as error:
        print(f"oracle: {error}", file=sys.stderr)
        return error.exit_status


def _run(options: argparse.Namespace) -> int:
    seed = secrets.randbits(31) if options.seed is None else options.seed
    names = options.cases or [case.name for case in CASES]
    print(f"seed {seed}, {options.operations:,} operations of each of {', '.join(names)}", flush=True)
    status = 0
    with ProcessPoolExecutor(options.jobs) as processes:
        running = {processes.submit(partial(_compared, name, options.operations, seed)): name for name in names}
        for done in as_completed(running):
            try:
                print(f"{running[done]}: {done.result()}", flush=True)
            except DisagreementError as error:
                print(error, flush=True)
                status = EXIT_DIFFERS
    return status


def _compared(name: str, operations: int, seed: int) -> Counts:
    case = case_named(name)
    kernel = case.kernel()
    return compare(kernel, kernel.choice().revision, case.mode, operations=operations, seed=seed)


if __name__ == "__main__":
    sys.exit(main())
