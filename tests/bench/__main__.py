"""Run benchmarks and print their tables: `python -m tests.bench [--quick] [NAME …]`, all of them without a name."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from tests.bench import figures, gate, load, loop, many, panel, prompt_cache, resume, search, telemetry, tokens
from tests.bench.measuring import RESULTS, Options, Row, Target, machine, save, table

__all__ = ["BENCHMARKS", "QUICK", "Benchmark", "main", "run"]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Rows to measure, and what they should reach."""

    about: str
    rows: Callable[[Options], list[Row]]
    targets: tuple[Target, ...]


BENCHMARKS = {
    module.__name__.rpartition(".")[2]: Benchmark((module.__doc__ or "").strip(), module.rows, module.TARGETS)
    for module in (loop, many, gate, panel, prompt_cache, load, resume, search, telemetry, tokens, figures)
}

QUICK = Options(repeats=1, most=100)


def run(name: str, options: Options) -> list[Row]:
    """The rows of one benchmark, printed and kept in build/bench/<name>.json."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    benchmark, about = BENCHMARKS[name], machine(RESULTS)
    print(f"\n== {name}: {benchmark.about}")
    rows = benchmark.rows(options)
    print(f"\n{table(rows)}\n")
    for target in benchmark.targets:
        print(target.judged(rows))
    where = save(name, rows, about)
    print(f"  {where}: {about['cpu']}, load {about['load'][0]}, fsync {about['fsync_us']['median']} µs")
    return rows


def main() -> None:
    """Run what the command line names, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"any of {', '.join(BENCHMARKS)}; all if left out")
    parser.add_argument("--quick", action="store_true", help="one process each, runs of at most 100 steps")
    given = parser.parse_args()
    if unknown := set(given.names) - set(BENCHMARKS):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    for name in given.names or BENCHMARKS:
        run(name, QUICK if given.quick else Options())


if __name__ == "__main__":
    main()
