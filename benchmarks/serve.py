"""Serving speed on a stand-in device, on a CPU and on a GPU.

    python -m benchmarks.serve --device sim|cpu|cuda [--quick] [--write]

Prints tables and the goals that were met or missed; the exit code is 1 if one was missed.
`--write` puts them into docs/performance.md, each device in its own part. Run it on an idle
machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.goals import Section, machine, with_part
from benchmarks.startup import ROOT

PAGE = ROOT / "docs" / "performance.md"


def main() -> int:
    """Measure, print, write; return 1 if a goal is missed, 2 if there is no such device."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", choices=("sim", "cpu", "cuda"), default="sim")
    parser.add_argument("--quick", action="store_true", help="small networks, few requests")
    parser.add_argument("--seconds", type=float, default=30, help="of load a row, at most (cpu)")
    parser.add_argument(
        "--part", choices=("overhead", "demo", "encode"), help="only this one (cpu)"
    )
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    args = parser.parse_args()
    os.environ.setdefault("VISION_HUB_OFFLINE", "1")
    os.environ["VISION_HUB_DEVICE"] = "cuda" if args.device == "cuda" else "cpu"
    before = machine()
    started = time.perf_counter()
    sections = measure(args.device, args.quick, args.seconds, args.part)
    if sections is None:
        print("There is no GPU that PyTorch can use on this machine.")
        return 2
    options = " ".join(word for word in sys.argv[1:] if word != "--write")
    command = f"python -m benchmarks.serve {options}".strip()
    seconds = time.perf_counter() - started
    for section in sections:
        section.say(f"`{command}`: {seconds:.0f} s on {before} at the start.")
    return max(tell(section, args.write) for section in sections)


def measure(
    device: str, quick: bool, load_seconds: float, part: str | None = None
) -> list[Section] | None:
    """The sections of a device, on a CPU optionally one `part`; None if there is no such device."""
    if device == "sim":
        from benchmarks import on_sim

        return [on_sim.measure(quick)]
    with tempfile.TemporaryDirectory() as folder:
        if device == "cpu":
            from benchmarks import on_cpu

            parts = (part,) if part else on_cpu.PARTS
            return on_cpu.measure(Path(folder), quick, load_seconds, parts)
        import torch

        if not torch.cuda.is_available():
            return None
        from benchmarks import on_cuda

        return [on_cuda.measure(Path(folder), quick)]


def tell(section: Section, write: bool) -> int:
    """Print a section and `write` it into docs/performance.md; return 1 if it misses a goal."""
    print("\n".join(section.lines))
    if write:
        PAGE.write_text(with_section(PAGE.read_text("utf-8"), section), "utf-8")
    for name in section.missed:
        print(f"missed: {name}")
    return int(bool(section.missed))


def with_section(page: str, section: Section) -> str:
    """The page with the part between that section's marks replaced.

    Raises:
        ValueError: the page lacks these marks.
    """
    return with_part(page, section.name, "\n".join(section.lines).strip())


if __name__ == "__main__":
    sys.exit(main())
