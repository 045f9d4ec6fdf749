"""What the example pictures show, in words, for those who do not see them."""

from __future__ import annotations

import json

NAMES = {
    "astronaut.jpg": "an astronaut",
    "blotchy.png": "a cat under blotchy noise",
    "blurred.png": "a blurred cup of coffee",
    "chelsea.jpg": "a cat",
    "coffee.jpg": "a cup of coffee",
    "coins.jpg": "coins",
    "face.jpg": "a face",
    "flower.jpg": "a flower",
    "hopper.jpg": "a woman in uniform",
    "lines.png": "the fine lines of a temple",
    "motion.png": "a temple blurred by motion",
    "noisy-2.png": "a temple under noise",
    "noisy.png": "a cat under noise",
    "rocket.jpg": "a rocket at night",
    "shaken.png": "a cup of coffee blurred by a shaken hand",
    "small-2.png": "a small picture of a flower",
    "small.png": "a small picture of an astronaut",
    "temple.jpg": "a temple",
}
# Gradio draws a tab when it is first opened, and gives its thumbnails an empty name.
NAME_THUMBNAILS = (
    "() => { const names = "
    + json.dumps(NAMES)
    + """;
  const name = () => document.querySelectorAll('[id$="-examples"] img[alt=""]').forEach((image) => {
    const file = decodeURIComponent(image.src.split("/").pop());
    image.alt = "Example: " + (names[file] || file);
  });
  new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
  name();
}"""
)
