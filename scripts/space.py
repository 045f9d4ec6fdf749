"""Make the folder of a Hugging Face Space, and upload it.

Usage: python -m scripts.space [owner/name] [--hardware zero-a10g] [--dry-run]; or, in make,
`make space TO=owner/name ARGS="--hardware zero-a10g"`.

The folder is uploaded without this repository's history, which a Space would reject: it holds
binary files in plain git. The upload stores them as the hub wants them.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx2
import yaml
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from core.checkpoints import CATALOGUE, Checkpoint, to_preload

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "space"
#: Uploaded: what runs, and what the page or the README links to.
PARTS = (
    *("app.py", "core", "demos", "vision_hub", "examples", "weights", "docs"),
    *("LICENSE", "NOTICE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "Dockerfile"),
)
SKIPPED = shutil.ignore_patterns("__pycache__", "*.pyc", "*.pyi", ".*")
FRONT: dict[str, Any] = {
    "title": "Vision Hub",
    "emoji": "🔬",
    "colorFrom": "indigo",
    "colorTo": "green",
    "sdk": "gradio",
    "sdk_version": metadata.version("gradio"),
    "python_version": "3.12.12",  # of the versions that ZeroGPU has, the newest
    "app_file": "app.py",
    "license": "apache-2.0",
    "short_description": "Vision models on your own pictures",
    "pinned": False,
    "startup_duration_timeout": "1h",
}
#: Where the requirements will be installed.
MACHINE = {
    "python_version": "3.12",
    "python_full_version": "3.12.12",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
    "os_name": "posix",
}
#: Not pinned. ZeroGPU installs torch itself and has only these versions; a Space adds gradio[mcp],
#: which needs an older pydantic than the tested one.
FREE = {"torch": ">=2.8,<2.12", "torchvision": ">=0.23,<0.27", "pydantic": ">=2.9"}
FOLLOW = {"pydantic-core"}  # named by one of those, in a version of its own


def front_matter() -> str:
    """The block at the top of the Space's README.

    Light recommended checkpoints become part of the Space's image, so that it starts with them.
    """
    full = [c for c in CATALOGUE if c.tier == "full" and "://" not in c.source]
    models = list(dict.fromkeys(c.source for c in full if not c.features))
    front = {**FRONT, "models": models, "preload_from_hub": list(_preloads())}
    return f"---\n{yaml.safe_dump(front, allow_unicode=True, sort_keys=False, width=1000)}---\n\n"


def _preloads() -> Iterator[str]:
    """One line for each repository: "repository file,file commit", or without a commit for main."""
    wanted: dict[tuple[str, str], list[Checkpoint]] = {}
    for checkpoint in to_preload("recommended", on_gpu=False)[0]:
        wanted.setdefault((checkpoint.source, checkpoint.revision or ""), []).append(checkpoint)
    for (source, revision), found in wanted.items():
        files = dict.fromkeys(f for c in found for f in (*c.extra_files, c.filename))
        yield f"{source} {','.join(files)} {revision}".strip()


def requirements() -> list[str]:
    """What the app needs and what that needs in turn, in the tested versions.

    A Space reads no constraints.txt, so every package is named here, except those that torch
    chooses itself (`constraints.txt` leaves them out too).
    """
    pins = {canonicalize_name(r.name): str(r.specifier) for r in _read("constraints.txt")}
    queue = list(_read("requirements.txt"))
    found: dict[str, str] = {}
    done: set[tuple[str, str]] = set()
    while queue:
        wanted = queue.pop()
        name = canonicalize_name(wanted.name)
        if name not in FOLLOW and (name in FREE or name in pins):
            found[name] = FREE.get(name) or pins[name]
        for extra in ("", *wanted.extras):
            if (name, extra) not in done:
                done.add((name, extra))
                queue += _needed_by(name, extra)
    return [f"{name}{versions}" for name, versions in sorted(found.items())]


def _read(name: str) -> Iterator[Requirement]:
    for line in (ROOT / name).read_text("utf-8").splitlines():
        if text := line.partition("#")[0].strip():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate(MACHINE):
                yield requirement


def _needed_by(name: str, extra: str) -> Iterator[Requirement]:
    """The requirements of an installed package; none if it is not installed."""
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return
    for requirement in map(Requirement, lines):
        marker = requirement.marker
        if marker is None or marker.evaluate({**MACHINE, "extra": extra}):
            yield requirement


def assemble(folder: Path = FOLDER) -> Path:
    """Make the folder, replacing an earlier one; returns it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=SKIPPED)
        else:
            shutil.copy2(ROOT / part, folder / part)
    readme = (ROOT / "README.md").read_text("utf-8")
    (folder / "README.md").write_text(front_matter() + readme, "utf-8")
    (folder / "requirements.txt").write_text("\n".join(requirements()) + "\n", "utf-8")
    return folder


def upload(folder: Path, to: str, hardware: str | None = None, api: HfApi | None = None) -> str:
    """Create the Space `to` ("owner/name") if it does not exist, and make it equal to the folder;
    returns its address. The token is that of `hf auth login`, or HF_TOKEN.

    Args:
        hardware: for a new Space, such as "zero-a10g" or "t4-small"; None for a free CPU.
    """
    api = api or HfApi()
    kind: Any = {"repo_id": to, "repo_type": "space"}
    made: Any = {"space_hardware": hardware} if hardware else {}
    address = api.create_repo(**kind, space_sdk="gradio", exist_ok=True, **made)
    api.upload_folder(
        **kind, folder_path=folder, delete_patterns="*", commit_message="Upload Vision Hub"
    )
    return str(address)


def listed(folder: Path) -> str:
    """Its files with their sizes in kB, then the sum."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = [file.stat().st_size for file in files]
    rows = [
        f"{size / 1e3:10,.0f}  {file.relative_to(folder).as_posix()}"
        for file, size in zip(files, sizes, strict=True)
    ]
    return "\n".join([*rows, f"{len(files)} files, {sum(sizes) / 1e6:.1f} MB"])


def main(arguments: list[str] | None = None) -> int:
    """Assemble; with a name, upload."""
    parser = argparse.ArgumentParser(description="Make the folder of a Space, and upload it.")
    parser.add_argument("to", nargs="?", help="owner/name of the Space; without, nothing is sent")
    parser.add_argument("--hardware", help="of a new Space, such as zero-a10g or t4-small")
    parser.add_argument("--dry-run", action="store_true", help="list the files and send nothing")
    given = parser.parse_args(arguments)
    folder = assemble()
    if given.dry_run or not given.to:
        print(listed(folder))
        print(f"Made {folder}. Nothing was uploaded: `make space TO=owner/name` does that.")
        return 0
    try:
        print(f"Uploaded to {upload(folder, given.to, given.hardware)}")
    except (HfHubHTTPError, httpx2.TransportError, ValueError, OSError) as error:
        print(
            f"The upload failed: {error}\nLog in with `hf auth login`, or set HF_TOKEN to a token "
            "that can write. Free accounts can make only ZeroGPU Spaces: --hardware zero-a10g.",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
