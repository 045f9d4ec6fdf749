"""The code that a person copies is run here, and must make the masks that the page showed."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from core import segment
from core.checkpoints import by_key
from core.sam import snippets
from core.sam.snippets import Prompt
from core.serving import runtime
from core.sources import resolver
from tests import nets

pytestmark = pytest.mark.usefixtures("stock_layers")

CLICKS = ((40, 30, 1), (60.5, 20, 0), (22, 48, 1))
BOX = (12, 9, 71, 58)
PROMPTS = [
    {"points": CLICKS[:1]},
    {"points": CLICKS[:1], "multimask": False},
    {"points": CLICKS},
    {"box": BOX},
    {"points": CLICKS, "box": BOX[::-1][1:] + BOX[:1]},
    {"points": CLICKS, "refine": 2},
    {"points": CLICKS, "box": BOX, "refine": 0, "min_area": 30},
    {"box": BOX, "refine": 0},
    {"points": CLICKS[:1], "min_area": 25.5},
]


@pytest.fixture
def photo(picture, tmp_path):
    path = tmp_path / "it's a \\photo.png"
    Image.fromarray(picture(90, 64)).save(path)
    return str(path)


@pytest.fixture
def checkpoint(sam):
    from core import checkpoints

    return checkpoints.CATALOGUE[-1]


def execute(text: str) -> dict:
    names: dict = {}
    exec(compile(text, "copied.py", "exec"), names)
    return names


@pytest.mark.parametrize("asked", PROMPTS, ids=str)
def test_copied_code_makes_the_same_masks(photo, checkpoint, asked):
    shown = segment.predict(photo, checkpoint=checkpoint.key, **asked)
    prompt = Prompt(photo, **asked)
    core_text = snippets.with_core(prompt, checkpoint.key)
    plain_text = snippets.with_segment_anything(prompt, checkpoint, checkpoint.source)
    assert "core.segment" not in plain_text and "from core import" not in plain_text
    for text in (core_text, plain_text):
        made = execute(text)
        np.testing.assert_array_equal(made["masks"], shown.masks)
        np.testing.assert_array_equal(made["scores"], shown.scores)
    assert max(map(len, core_text.splitlines())) < 200


@pytest.mark.parametrize("area", [0, 12])
def test_copied_code_of_everything_makes_the_same_masks(photo, checkpoint, area):
    settings = (4, 0.88, 0.6, area)
    stream = segment.everything_stream(
        photo, checkpoint.key, 4, pred_iou_thresh=0.88, stability_score_thresh=0.6, min_area=area
    )
    shown = [mask.mask for mask in runtime.finish(stream)[0]]
    assert shown
    texts = (
        snippets.everything_with_core(photo, checkpoint.key, *settings),
        snippets.everything_with_segment_anything(photo, checkpoint, checkpoint.source, *settings),
    )
    for text in texts:
        masks = execute(text)["masks"]
        assert len(masks) == len(shown)
        for found, wanted in zip(masks, shown, strict=True):
            np.testing.assert_array_equal(found, wanted)


@pytest.fixture(params=["sam", "sam2"])
def folder(request, settings, tmp_path):
    """A folder as `save_pretrained` writes it, as a person's own checkpoint."""
    made = tmp_path / "own" / f"my-{request.param}"
    (nets.hf_sam() if request.param == "sam" else nets.hf_sam2()).save_pretrained(made)
    settings(VISION_HUB_CHECKPOINTS=str(made.parent))
    return made


@pytest.mark.parametrize("processor", [False, True])
def test_copied_code_of_transformers_makes_the_same_masks(photo, folder, processor):
    import transformers

    if processor:  # with a file of its own, whose colours are not the usual ones
        name = "Sam2" if folder.name == "my-sam2" else "Sam"
        square = {"height": 128, "width": 128}
        sizes = {"size": square}
        if name == "Sam":
            sizes = {"size": {"longest_edge": 128}, "pad_size": square}
        picture_processor = getattr(transformers, f"{name}ImageProcessor")(
            **sizes, image_mean=nets.MEAN[::-1]
        )
        getattr(transformers, f"{name}Processor")(picture_processor).save_pretrained(folder)
    checkpoint = resolver.find(f"own:{folder.name}", "segment")
    for asked in PROMPTS:
        shown = segment.predict(photo, checkpoint=checkpoint.key, **asked)
        text = snippets.with_library(Prompt(photo, **asked), checkpoint, checkpoint.source)
        assert "segment_anything" not in text or asked.get("min_area")
        assert "from core" not in text and "import core" not in text
        for script in (text, snippets.with_core(Prompt(photo, **asked), checkpoint.key)):
            made = execute(script)
            np.testing.assert_array_equal(made["masks"], shown.masks)
            np.testing.assert_allclose(made["scores"], shown.scores, atol=1e-5)


def test_the_text_names_the_repository_of_a_full_checkpoint():
    for key, name in (("sam2.1-hiera-tiny", "Sam2"), ("slimsam-50", "Sam")):
        checkpoint = by_key(key)
        text = snippets.with_library(
            Prompt("photo.jpg", [[3, 4, 1]]), checkpoint, "x/y.safetensors"
        )
        pinned = f", revision={checkpoint.revision!r}" if checkpoint.revision else ""
        source = f"{checkpoint.source!r}{pinned}"
        assert f"{name}Model.from_pretrained({source}, dtype=torch.float32)" in text
        assert f"{name}Processor.from_pretrained({source})" in text
        compile(text, "copied.py", "exec")


def test_the_text_names_what_a_person_has():
    text = snippets.with_segment_anything(
        Prompt("photo.jpg", [[3, 4, 1]]), by_key("sam-vit-b"), "sam_vit_b_01ec64.pth"
    )
    assert "WEIGHTS = 'sam_vit_b_01ec64.pth'" in text and "PICTURE = 'photo.jpg'" in text
    assert "sam_model_registry['vit_b'](checkpoint=WEIGHTS)" in text
    fetched = "hf_hub_download('ybelkada/segment-anything', 'checkpoints/sam_vit_b_01ec64.pth'"
    assert fetched in text
