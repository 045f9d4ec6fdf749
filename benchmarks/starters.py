"""Each starter's scores on data not used in training, with classical methods on the same data.

    python -m benchmarks.starters --data DIR --benchmarks DIR [--only denoise classify …]

Prints one table and exits with 1 if a row misses its goal or loses to a classical method.
`--data` is the folder described in training/DATA.md, `--benchmarks` one with `set5`, `set14` and
`cbsd68` as PNG; rows that need missing data fail. The classical methods come from the packages in
requirements-bench.txt. BM3D takes most of the time, about 15 seconds per picture; `--bm3d-every 8`
runs it on every eighth.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from benchmarks.starter_rows import Row, table

ROOT = Path(__file__).resolve().parent.parent


def sections() -> dict[str, Callable[[argparse.Namespace], Iterator[Row]]]:
    """The measurements by their name for `--only`; imported late because of heavy dependencies."""
    from benchmarks import starter_limits, starter_recognition, starter_restore, starter_scenes

    return {
        "denoise": starter_restore.denoise,
        "super_resolve": starter_restore.super_resolve,
        "deblur": starter_restore.deblur,
        "classify": starter_recognition.classify,
        "reconstruct": starter_recognition.reconstruct,
        "detect": starter_scenes.detect,
        "segment": starter_scenes.segment,
        "semantic": starter_scenes.semantic,
        "seconds": starter_limits.seconds,
        "sizes": starter_limits.sizes,
    }


def measured(
    name: str, section: Callable[[argparse.Namespace], Iterator[Row]], options: argparse.Namespace
) -> Iterator[Row]:
    """The rows of a section; if data are missing, a failing row that says so."""
    try:
        yield from section(options)
    except (SystemExit, FileNotFoundError) as missing:
        yield Row(name, f"not measured: {missing}", float("nan"), 0.0)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and return 0 if every goal is reached."""
    known = sections()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("data"), help="see training/DATA.md")
    parser.add_argument(
        "--benchmarks", type=Path, default=Path("data/benchmarks"), help="set5, set14, cbsd68"
    )
    parser.add_argument("--only", nargs="+", choices=known, default=list(known))
    parser.add_argument("--weights", type=Path, default=ROOT / "weights")
    parser.add_argument("--bm3d-every", type=int, default=1, metavar="N")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = list[Row]()
    for name in options.only:
        for row in measured(name, known[name], options):
            print(" | ".join(cell for cell in row.cells() if cell), file=sys.stderr, flush=True)
            rows.append(row)
    print(table(rows))
    short = [row for row in rows if not row.met]
    print(f"\n{len(rows) - len(short)} of {len(rows)} rows reached; one core, PyTorch", end=" ")
    print(f"{torch.__version__}, load average {os.getloadavg()[0]:.1f}")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
