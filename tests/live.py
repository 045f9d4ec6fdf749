"""The real app, served on a free port of this machine for tests."""

from __future__ import annotations

from pathlib import Path

from app import served as hub

__all__ = ["EXAMPLES", "hub"]

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
