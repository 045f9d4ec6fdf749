"""Weight files that an installed package brings.

They are found by what the installer recorded; no code of the package is imported.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path


def weight_file(requirement: str, name: str) -> Path | None:
    """The file `name` (a path inside site-packages) of an installed package; None without it.

    Args:
        requirement: "package==version"; the checksum of the file tells whether it is that version.
    """
    try:
        installed = metadata.distribution(requirement.partition("==")[0])
    except metadata.PackageNotFoundError:
        return None
    path = Path(str(installed.locate_file(name)))
    return path if path.is_file() else None
