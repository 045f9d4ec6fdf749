"""The bundled example pictures: a strip below the picture, with descriptions."""

from __future__ import annotations

import json
from pathlib import Path

import gradio as gr

from demos.shell.picture import PictureIn

FOLDER = Path(__file__).resolve().parents[2] / "examples"
# Descriptions for screen readers, in the order of the strip.
NAMES = {
    "chelsea.jpg": "a cat",
    "face.jpg": "a face",
    "flower.jpg": "a flower",
    "coffee.jpg": "a cup of coffee",
    "astronaut.jpg": "an astronaut",
    "rocket.jpg": "a rocket at night",
    "coins.jpg": "coins",
    "temple.jpg": "a temple",
    "hopper.jpg": "a woman in uniform",
    "noisy.png": "a cat under noise",
    "noisy-2.png": "a temple under noise",
    "blotchy.png": "a cat under blotchy noise",
    "small.png": "a small picture of an astronaut",
    "small-2.png": "a small picture of a flower",
    "lines.png": "the fine lines of a temple",
    "blurred.png": "a blurred cup of coffee",
    "motion.png": "a temple blurred by motion",
    "shaken.png": "a cup of coffee blurred by a shaken hand",
}
# Examples that come first while a tab is open, by tab key; tabs add theirs with `suits`.
BY_TAB: dict[str, list[str]] = {}
# Gradio leaves the alt text of its thumbnails and output pictures empty. Its list of files has a
# button without a name around the one that works, and lists of choices catch the Tab key.
NAME_THUMBNAILS = (
    "() => { const names = "
    + json.dumps(NAMES)
    + """;
  const name = () => {
    document.querySelectorAll('#picture-examples img[alt=""]').forEach((image) => {
      const file = decodeURIComponent(image.src.split("/").pop());
      image.alt = "Example: " + (names[file] || file);
    });
    document.querySelectorAll('[aria-label="common.upload"]').forEach((button) => {
      button.title = "Add files";
      button.setAttribute("aria-label", button.title);
      button.setAttribute("role", "group");
      button.tabIndex = -1;
    });
    document.querySelectorAll('ul[role="listbox"]:not([tabindex])').forEach((list) => {
      list.tabIndex = -1;
    });
    document.querySelectorAll('.image-frame img[alt=""]').forEach((image) => {
      const label = image.closest(".block")?.querySelector('[data-testid="block-label"]');
      image.alt = label?.innerText.trim() || "Picture";
    });
  };
  new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
  name();
}"""
)


def suits(tab: str, names: tuple[str, ...]) -> None:
    """Show these examples first while the tab is open."""
    BY_TAB[tab] = list(names)


def first() -> str | None:
    """The picture shown to a new visitor; None if no examples are installed."""
    return next(iter(_there()), None)


def place(picture: PictureIn) -> None:
    """The strip of examples; clicking one selects it."""
    found = _there()
    if found:
        gr.Examples(
            [[path] for path in found],
            inputs=[picture],
            label="Examples",
            elem_id="picture-examples",
            examples_per_page=len(NAMES),
            cache_examples=False,
            api_visibility="private",
        )


def _there() -> list[str]:
    return [str(FOLDER / name) for name in NAMES if (FOLDER / name).is_file()]
