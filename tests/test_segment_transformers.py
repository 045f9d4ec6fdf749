"""SAM and SAM 2 through transformers, against its own processors and models on the same weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from segment_anything.utils.amg import (
    batched_mask_to_box,
    build_point_grid,
    calculate_stability_score,
)
from torchvision.ops import batched_nms

from core import segment
from core.errors import CheckpointError, InputError
from core.sam import diagram, insight
from core.serving import runtime
from tests import nets

pytestmark = pytest.mark.usefixtures("stock_layers")

CLICKS = [[40, 30, 1], [60, 20, 0], [22.5, 48, 1], [61, 55, 1]]
BOX = [12, 9, 60, 58]
KINDS = ("sam", "sam2")
POSITIONS = (
    "shared_image_embedding.positional_embedding",
    "prompt_encoder.shared_embedding.positional_embedding",
)


@dataclass(frozen=True)
class Reference:
    """A folder as `save_pretrained` writes it, and transformers' own processor and model of it."""

    kind: str
    folder: Path
    processor: Any
    model: Any

    @property
    def key(self) -> str:
        return f"own:{self.folder.name}"

    def ask(self, image, points=(), box=None, mask_input=None, multimask=None):
        """Masks, scores, low-resolution logits; best first."""
        asked: dict[str, Any] = {}
        if len(points):
            asked["input_points"] = [[[list(map(float, p[:2])) for p in points]]]
            asked["input_labels"] = [[[int(p[2]) for p in points]]]
        if box is not None:
            asked["input_boxes"] = [[list(map(float, box))]]
        inputs = self.processor(Image.fromarray(image), return_tensors="pt", **asked)
        sizes = [inputs.pop("original_sizes")]
        if self.kind == "sam":
            sizes.append(inputs.pop("reshaped_input_sizes"))
        if mask_input is not None:
            inputs["input_masks"] = torch.tensor(mask_input)[None]
        three = len(points) == 1 and box is None and mask_input is None
        with torch.inference_mode():
            out = self.model(**inputs, multimask_output=three if multimask is None else multimask)
        masks = self.processor.post_process_masks(out.pred_masks, *sizes)[0][0].numpy()
        scores, low_res = out.iou_scores[0, 0].numpy(), out.pred_masks[0, 0].numpy()
        order = np.argsort(-scores, kind="stable")
        return masks[order], scores[order], low_res[order]


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reference]:
    from transformers import (
        Sam2ImageProcessor,
        Sam2Model,
        Sam2Processor,
        SamImageProcessor,
        SamModel,
        SamProcessor,
    )

    root, made = tmp_path_factory.mktemp("own"), {}
    for kind in (*KINDS, "sam2_video"):
        folder = root / f"my-{kind}"
        if kind == "sam":
            nets.hf_sam().save_pretrained(folder)
            pad = {"height": 128, "width": 128}
            picture = SamImageProcessor(size={"longest_edge": 128}, pad_size=pad)
            processor, model = SamProcessor(picture), SamModel
        else:
            nets.hf_sam2(video=kind == "sam2_video").save_pretrained(folder)
            picture = Sam2ImageProcessor(size={"height": 128, "width": 128})
            processor, model = Sam2Processor(picture), Sam2Model
        made[kind] = Reference(kind, folder, processor, model.from_pretrained(folder).eval())
    return made


@pytest.fixture(params=KINDS)
def reference(request: Any, references: Any, settings: Any) -> Iterator[Reference]:
    """One of them, as a person's own checkpoint."""
    chosen = references[request.param]
    settings(VISION_HUB_CHECKPOINTS=str(chosen.folder.parent))
    yield chosen


def assert_same(result, expected):
    """Equal masks, and logits and scores but for rounding.

    `SamProcessor` gives prompts in float64, core in float32 as `SamPredictor` does; and a weight
    that lies elsewhere in memory is multiplied in another order.
    """
    masks, scores, low_res = expected
    np.testing.assert_array_equal(result.masks, masks)
    np.testing.assert_allclose(result.scores, scores, rtol=0, atol=1e-5)
    scale = float(np.abs(low_res).max())
    np.testing.assert_allclose(result.low_res, low_res, rtol=0, atol=1e-5 * scale)
    assert 0 < masks.mean() < 1


# --- the same masks ---


PROMPTS = [
    {"points": CLICKS[:1]},
    {"points": CLICKS[:1], "multimask": False},
    {"points": CLICKS},
    {"box": BOX},
    {"points": CLICKS[:1], "box": BOX},
    {"points": CLICKS, "box": BOX},
]


@pytest.mark.parametrize("size", [(90, 64), (200, 300)], ids=str)
def test_masks_equal_the_library(reference, picture, size):
    image = picture(*size)
    for prompt in PROMPTS:
        expected = reference.ask(image, **prompt)
        assert len(expected[0]) == (3 if prompt == PROMPTS[0] else 1)
        assert_same(segment.predict(image, checkpoint=reference.key, **prompt), expected)


@pytest.mark.parametrize("box", [None, BOX])
def test_refinement_equals_the_library_click_by_click(reference, picture, box):
    image, first = picture(90, 64), 1
    earlier = None if box is None else reference.ask(image, box=box)[2][:1]
    for count in range(1, len(CLICKS) + 1):
        expected = reference.ask(image, CLICKS[:count], box, earlier)
        found = segment.predict(image, CLICKS[:count], box, reference.key, refine=first)
        assert_same(found, expected)
        meant = min(first, len(expected[2]) - 1)
        earlier = expected[2][meant : meant + 1]
    plain = segment.predict(image, CLICKS, box, reference.key)
    assert np.any(plain.low_res != found.low_res)


def test_logits_of_an_earlier_answer_are_refined(reference, picture):
    image = picture(64, 90)
    earlier = segment.predict(image, CLICKS[:1], checkpoint=reference.key).low_res[:1]
    assert earlier.shape == (1, 32, 32)
    found = segment.predict(image, CLICKS[:2], None, reference.key, mask_input=earlier)
    assert_same(found, reference.ask(image, CLICKS[:2], mask_input=earlier))
    with pytest.raises(InputError, match=r"\(1, 32, 32\)"):
        segment.predict(
            image, CLICKS[:2], None, reference.key, mask_input=np.zeros((1, 64, 64), np.float32)
        )


def test_a_checkpoint_for_videos_serves_for_pictures(references, settings, picture):
    """Its memory of earlier frames is left out, and nothing else."""
    reference, image = references["sam2_video"], picture(90, 64)
    config = json.loads((reference.folder / "config.json").read_text())
    assert config["model_type"] == "sam2_video"
    settings(VISION_HUB_CHECKPOINTS=str(reference.folder.parent))
    for points in (CLICKS[:1], CLICKS):
        found = segment.predict(image, points, checkpoint=reference.key)
        assert_same(found, reference.ask(image, points))


def test_an_unstable_single_mask_gives_way_to_the_best_of_three(
    references, settings, picture, tmp_path
):
    reference, image = references["sam2"], picture(90, 64)
    strict = Path(shutil.copytree(reference.folder, tmp_path / "strict"))
    config = json.loads((strict / "config.json").read_text())
    config["mask_decoder_config"]["dynamic_multimask_stability_delta"] = 1e6  # nothing is stable
    (strict / "config.json").write_text(json.dumps(config))
    three = reference.ask(image, CLICKS[:1])[2]
    alike = []
    for folder in (reference.folder, strict):
        settings(VISION_HUB_CHECKPOINTS=str(folder.parent))
        key = f"own:{folder.name}"
        one = segment.predict(image, CLICKS[:1], checkpoint=key, multimask=False).low_res
        alike.append(np.allclose(one[0], three[0], atol=1e-5 * float(np.abs(three).max())))
    assert alike == [False, True]


def test_a_preprocessor_config_sets_the_normalisation(references, settings, picture, tmp_path):
    for kind in ("sam", "sam2"):
        folder = tmp_path / f"bright-{kind}"
        shutil.copytree(references[kind].folder, folder)
        picture_processor = type(references[kind].processor.image_processor)(
            **{
                **references[kind].processor.image_processor.to_dict(),
                "image_mean": nets.MEAN[::-1],
                "image_std": nets.STD,
            }
        )
        whole = type(references[kind].processor)(picture_processor)
        (whole if kind == "sam" else picture_processor).save_pretrained(folder)
        settings(VISION_HUB_CHECKPOINTS=str(tmp_path))
        bright = Reference(kind, folder, whole, references[kind].model)
        expected = bright.ask(picture(90, 64), CLICKS[:1])
        assert np.any(expected[2] != references[kind].ask(picture(90, 64), CLICKS[:1])[2])
        assert_same(segment.predict(picture(90, 64), CLICKS[:1], None, bright.key), expected)


# --- everything mode ---


def everything_by_hand(reference, image, side, pred_iou_thresh, stability_score_thresh):
    """Each point of the grid by itself through processor and model, then the library's filters."""
    height, width = image.shape[:2]
    kept = []
    for x, y in build_point_grid(side) * np.array([[width, height]]):
        _, scores, low_res = reference.ask(image, [[x, y, 1]])
        with runtime.run("segment", reference.key, segment._build) as run:
            engine = run.extra.engine
        on_picture = engine.on_picture(torch.tensor(low_res)[None], (height, width))
        logits = F.interpolate(on_picture, (height, width), mode="bilinear")[0]
        stability = calculate_stability_score(logits, 0.0, 1.0).numpy()
        kept += [
            (logits[i] > 0, float(scores[i]))
            for i in range(3)
            if scores[i] > pred_iou_thresh and stability[i] >= stability_score_thresh
        ]
    boxes = batched_mask_to_box(torch.stack([mask for mask, _ in kept])).float()
    sure = torch.tensor([score for _, score in kept])
    found = [kept[i][0].numpy() for i in batched_nms(boxes, sure, torch.zeros(len(kept)), 0.7)]
    return sorted(found, key=lambda mask: -mask.sum())


def test_everything_equals_each_point_by_itself(reference, picture):
    image, thresholds = picture(90, 64), (0.7, 0.9)
    stream = segment.everything_stream(
        image,
        reference.key,
        4,
        pred_iou_thresh=thresholds[0],
        stability_score_thresh=thresholds[1],
        points_per_batch=5,
    )
    masks, info = runtime.finish(stream)
    expected = everything_by_hand(reference, image, 4, *thresholds)
    assert len(masks) == len(expected) > 0
    for found, wanted in zip(masks, expected, strict=True):
        np.testing.assert_array_equal(found.mask, wanted)
    assert info.cache["embedding"] == "miss"


def test_thresholds_are_those_of_each_network(reference):
    with runtime.run("segment", reference.key, segment._build) as run:
        limits = run.extra.thresholds
    assert limits["pred_iou_thresh"] == (0.88 if reference.kind == "sam" else 0.8)
    assert limits["stability_score_thresh"] == 0.95


# --- the cache, and users beside each other ---


def test_the_second_click_finds_the_embedding(reference, picture):
    image = picture(90, 64)
    first = segment.predict(image, CLICKS[:1], checkpoint=reference.key)
    second = segment.predict(image, CLICKS[:2], checkpoint=reference.key)
    assert first.info.cache["embedding"] == "miss"
    assert second.info.cache["embedding"] == "hit"
    assert "encode" in first.info.seconds and "encode" not in second.info.seconds
    assert second.info.tier == "own"


def test_two_interleaved_users_get_their_own_masks(reference, picture):
    anna, ben = picture(90, 64), picture(64, 90, 1)
    wanted = {id(image): reference.ask(image, CLICKS[:2]) for image in (anna, ben)}
    for image in (anna, ben):
        segment.embed(image, reference.key)
    for image in (anna, ben, anna, ben):
        runtime.decoded().clear()
        assert_same(segment.predict(image, CLICKS[:2], None, reference.key), wanted[id(image)])


def test_encoding_tells_how_far_it_is_and_leaves_no_hook(reference, picture):
    told: list[float] = []
    segment.embed(picture(90, 64), reference.key, lambda done, _: told.append(done))
    assert len(told) == (2 if reference.kind == "sam" else 5)
    assert told == sorted(told) and told[-1] == 1
    segment.parts(picture(90, 64), CLICKS, None, reference.key)
    with runtime.run("segment", reference.key, segment._build) as run:
        assert not any(m._forward_hooks for m in run.lease.built.module.modules())


def test_bfloat16_encodes_and_decodes_in_full_precision(reference, picture, settings):
    image = picture(90, 64)
    plain = segment.predict(image, CLICKS, checkpoint=reference.key)
    settings(VISION_HUB_PRECISION="bf16", VISION_HUB_CHECKPOINTS=str(reference.folder.parent))
    rough = segment.predict(image, CLICKS, checkpoint=reference.key)
    assert rough.low_res.dtype == np.float32
    assert np.any(rough.low_res != plain.low_res)
    assert np.mean(rough.masks == plain.masks) > 0.9


# --- what a learner looks at ---


def test_the_embedding_in_colour_covers_the_picture(reference, picture):
    image = picture(90, 45)
    pixels = reference.processor(Image.fromarray(image), return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        features = reference.model.get_image_embeddings(pixels)
    features = (features if reference.kind == "sam" else features[-1])[0].numpy()
    rows = 4 if reference.kind == "sam" else 8  # of SAM's the lower half is padding
    expected = insight.pca_picture(np.ascontiguousarray(features[:, :rows]))
    found = segment.embedding_picture(image, reference.key)
    assert found.shape == expected.shape == (rows, 8, 3)
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_the_diagram_has_the_shapes_and_weights_of_the_model(reference, picture):
    parts = segment.parts(picture(90, 64), CLICKS[:1], None, reference.key)
    found = {part.key: part for part in parts}
    extra = 1 if reference.kind == "sam" else 2  # SAM 2 also asks whether the object is there
    assert {key: part.shape for key, part in found.items()} == {
        "embedding": (1, 32, 8, 8),
        "sparse": (1, 1, 2, 32),
        "dense": (1, 32, 8, 8),
        "tokens": (1, 1, extra + 4 + 2, 32),
        "places": (1, 1, 64, 32),
        "upscaled": (1, 4, 32, 32),
        "weights": (1, 1, 4),
        "iou": (1, 1, 4),
        "masks": (1, 1, 3, 32, 32),
        "scores": (1, 1, 3),
    }
    decoder = reference.model.mask_decoder
    upscaling = [p for n, p in decoder.named_parameters() if n.startswith("upscale_")]
    assert found["upscaled"].parameters == sum(p.numel() for p in upscaling)
    boxed = segment.parts(picture(90, 64), CLICKS, BOX, reference.key)
    pad = 0 if reference.kind == "sam" else 1
    assert boxed[1].shape == (1, 1, len(CLICKS) + 2 + pad, 32)
    assert "Picture after attention" in diagram.svg(parts)


# --- files ---


@pytest.fixture(params=("sam", "sam2"))
def copy(request: Any, references: Any, settings: Any, tmp_path: Path) -> Path:
    """A folder of a person's own, to be damaged."""
    settings(VISION_HUB_CHECKPOINTS=str(tmp_path))
    return Path(shutil.copytree(references[request.param].folder, tmp_path / "mine"))


def answer(picture):
    return segment.predict(picture(90, 64), CLICKS[:1], checkpoint="own:mine")


def rewrite(folder: Path, change) -> None:
    file = folder / "model.safetensors"
    state = {name: tensor.clone() for name, tensor in load_file(file).items()}
    change(state)
    save_file(state, file, {"format": "pt"})


def last(state) -> str:
    return sorted(n for n in state if n.startswith("vision_encoder") and n.endswith("weight"))[-1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop(last(state)), "1 weights missing"),
        (lambda state: state.update({"unheard.of": torch.zeros(3)}), "1 unknown"),
        (lambda state: state.update({last(state): torch.zeros(5, 5)}), "shapes do not fit"),
        (lambda state: state.clear(), "weights missing"),
    ],
    ids=["missing", "surplus", "shape", "empty"],
)
def test_files_that_do_not_fit_are_refused(copy, picture, change, words):
    rewrite(copy, change)
    with pytest.raises(CheckpointError, match=rf"^model\.safetensors .*{words}"):
        answer(picture)
    assert runtime.models().stats()["models"] == []


def test_a_file_cut_short_is_refused(copy, picture):
    from dataclasses import replace

    from core.sam import models
    from core.sources import own_files
    from core.sources.resolver import Resolved

    (checkpoint,) = own_files.scan().checkpoints
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="mine is damaged"):
        answer(picture)  # the scan does not offer it any more
    for path, words in ((file, "damaged"), (copy / "gone.safetensors", "does not exist")):
        with pytest.raises(CheckpointError, match=words):  # it was cut after the scan
            config = (copy / "config.json").read_text()
            path.with_name("config.json").write_text(config)
            models.build(Resolved(replace(checkpoint, source=str(path)), "own", path))


@pytest.mark.parametrize(
    ("config", "words"),
    [(None, "needs its config.json"), ({"model_type": "detr"}, "not that of a SAM")],
)
def test_another_config_is_refused(copy, config, words):
    from core.sam import models
    from core.sources import own_files
    from core.sources.resolver import Resolved

    (checkpoint,) = own_files.scan().checkpoints
    beside = copy / "config.json"
    beside.unlink() if config is None else beside.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=words):
        models.build(Resolved(checkpoint, "own", copy / "model.safetensors"))


@pytest.mark.parametrize("written", POSITIONS)
def test_positions_may_stand_under_either_name(copy, picture, written):
    expected = answer(picture)

    def one_name(state):
        (other,) = set(POSITIONS) - {written}
        values = [state.pop(name) for name in POSITIONS if name in state]
        state[written] = values[0]
        assert other not in state

    rewrite(copy, one_name)
    found = answer(picture)
    assert found.info.cache["model"] == "miss"
    assert_same(found, (expected.masks, expected.scores, expected.low_res))


def test_a_config_trained_in_half_precision_is_run_in_float32(copy, picture):
    expected = answer(picture)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    runtime.reset()
    found = answer(picture)
    assert_same(found, (expected.masks, expected.scores, expected.low_res))
