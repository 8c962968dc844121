"""`python -m bench`: every section, each beside its peers in the same run.

BENCH_QUICK=1     fewer alternations and smaller runs: shows that it works, not how fast it is
BENCH_ONLY=a,c    these sections only
BENCH_MILLION=N   another number than a million of waiting jobs in (m)
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import million, noops, objects, report, runtimes, scratch, scratch_policies, scratch_real, stacks, starts, submissions, uploads

IS_QUICK = os.environ.get("BENCH_QUICK", "0") not in ("", "0")
ALTERNATIONS = 1 if IS_QUICK else 5
SECTIONS: dict[str, Callable[[], None]] = {
    "a": lambda: submissions.run(ALTERNATIONS, is_quick=IS_QUICK),
    "b": lambda: noops.run(ALTERNATIONS, is_quick=IS_QUICK),
    "c": lambda: starts.run(ALTERNATIONS, is_quick=IS_QUICK),
    "d": lambda: uploads.run(is_quick=IS_QUICK),
    "r": lambda: runtimes.run(min(ALTERNATIONS, 3), is_quick=IS_QUICK),
    "s": lambda: objects.run(min(ALTERNATIONS, 3), is_quick=IS_QUICK),
    "k": lambda: stacks.run(min(ALTERNATIONS, 3), is_quick=IS_QUICK),
    "g": lambda: (scratch_policies.run(is_quick=IS_QUICK), scratch_real.run(is_quick=IS_QUICK)),
    "m": lambda: million.run(is_quick=IS_QUICK),
}


def main() -> int:
    """Run the sections that are asked for. The exit code is 0 also when a goal is missed: the table says it."""
    wanted = [name.strip() for name in os.environ.get("BENCH_ONLY", ",".join(SECTIONS)).split(",")]
    unknown = [name for name in wanted if name not in SECTIONS]
    if unknown:
        print(f"BENCH_ONLY names {', '.join(unknown)}: there are {', '.join(SECTIONS)}", file=sys.stderr)
        return 2
    os.environ.setdefault("BATCHYARD_RUNTIME", "process")  # the other sections are about the service, not about containers
    started = time.monotonic()
    print(report.machine(Path(tempfile.gettempdir())))
    if IS_QUICK:
        print("BENCH_QUICK: these figures show that the bench works, not how fast anything is")
    with scratch.kept():
        for name in wanted:
            SECTIONS[name]()
    print(f"\n{report.machine(Path(tempfile.gettempdir()))}; {time.monotonic() - started:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
