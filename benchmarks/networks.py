"""Networks of the published sizes with random weights, since time does not depend on the values.

`write` puts their files into a folder, which the app reads as the owner's checkpoints; `load` reads
the same files with the calls from the libraries' documentation.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from core.sources import state_dicts

TASKS = ("classify", "detect", "segment", "reconstruct", "denoise")
Answer = Callable[..., Any]
_VITS = {False: "vit_base_patch16_224", True: "vit_tiny_patch16_224"}
_SHOWN = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def write(folder: Path, small: bool = False, tasks: tuple[str, ...] = TASKS) -> None:
    """Write the file of each task below `folder`, those of small networks for a short run.

    Full size is ViT-B/16, DETR ResNet-50, SAM ViT-B, ViT-MAE base and NAFNet-32 (SIDD).
    """
    torch.manual_seed(0)
    for task in tasks:
        (folder / task).mkdir(parents=True, exist_ok=True)
        _WRITERS[task](folder / task, small)


def _classify(folder: Path, small: bool) -> None:
    import timm

    model = timm.create_model(_VITS[small])
    config = {"architecture": _VITS[small], "num_classes": 1000, "pretrained_cfg": {}}
    _save(model, folder, config)


def _detect(folder: Path, small: bool) -> None:
    from transformers import DetrConfig, DetrForObjectDetection

    size = {"d_model": 64, "encoder_layers": 1, "decoder_layers": 1} if small else {}
    backbone: dict[str, Any] = {"use_timm_backbone": True, "use_pretrained_backbone": False}
    backbone["backbone"] = "resnet18" if small else "resnet50"
    config = DetrConfig.from_dict({**backbone, **size})
    shown = {"size": {"shortest_edge": 256 if small else 800, "longest_edge": 1333}, **_SHOWN}
    _save(DetrForObjectDetection(config), folder, config.to_dict(), shown)


def _segment(folder: Path, small: bool) -> None:
    from segment_anything import sam_model_registry

    save_file(sam_model_registry["vit_b"]().state_dict(), folder / "sam_vit_b.safetensors")


def _reconstruct(folder: Path, small: bool) -> None:
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    size = {"hidden_size": 192, "num_hidden_layers": 4, "intermediate_size": 384} if small else {}
    config: Any = ViTMAEConfig.from_dict(size)
    _save(ViTMAEForPreTraining(config), folder, config.to_dict(), {"size": 224, **_SHOWN})


def _denoise(folder: Path, small: bool) -> None:
    from spandrel.architectures.NAFNet import NAFNet

    blocks = {"middle_blk_num": 1, "enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]}
    full = {"middle_blk_num": 12, "enc_blk_nums": [2, 2, 4, 8], "dec_blk_nums": [2, 2, 2, 2]}
    net = NAFNet(img_channel=3, width=8 if small else 32, **(blocks if small else full))
    torch.save({"params": net.state_dict()}, folder / "nafnet.pth")


_WRITERS = {
    "classify": _classify,
    "detect": _detect,
    "segment": _segment,
    "reconstruct": _reconstruct,
    "denoise": _denoise,
}


def _save(model: Any, folder: Path, config: Any, shown: Any = None) -> None:
    save_file(model.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    if shown is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(shown))


def load(task: str, folder: Path, device: str = "cpu") -> Answer:
    """A function from a picture to the model's answer, as in the library's documentation."""
    return _LOADERS[task](folder / task, device)


def _load_classify(folder: Path, device: str) -> Answer:
    import timm
    from timm.data import create_transform, resolve_model_data_config

    model = timm.create_model(json.loads((folder / "config.json").read_text())["architecture"])
    model.load_state_dict(load_file(folder / "model.safetensors"))
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    model.to(device).eval()

    def answer(image: Image.Image) -> Any:
        with torch.inference_mode():
            return model(transform(image)[None].to(device)).softmax(-1)[0].cpu().numpy()

    return answer


def _load_detect(folder: Path, device: str) -> Answer:
    from transformers import DetrForObjectDetection
    from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil

    model: Any = DetrForObjectDetection.from_pretrained(folder).eval().to(device)
    processor = DetrImageProcessorPil.from_pretrained(folder, do_pad=False)

    def answer(image: Image.Image) -> Any:
        with torch.inference_mode():
            out = model(**processor(image, return_tensors="pt").to(device))
        sizes = [(image.height, image.width)]
        found = processor.post_process_object_detection(out, 0.5, sizes)[0]
        return found["boxes"].cpu().numpy()

    return answer


def _load_segment(folder: Path, device: str) -> Answer:
    from segment_anything import SamPredictor, sam_model_registry

    sam = sam_model_registry["vit_b"]()
    sam.load_state_dict(load_file(folder / "sam_vit_b.safetensors"))
    predictor = SamPredictor(sam.to(device).eval())

    def answer(image: Image.Image, x: float, y: float) -> Any:
        predictor.set_image(np.asarray(image))
        masks, scores, _ = predictor.predict(np.array([[x, y]]), np.array([1]))
        return masks[scores.argmax()]

    return answer


def _load_reconstruct(folder: Path, device: str) -> Answer:
    from transformers import ViTMAEForPreTraining
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    model: Any = ViTMAEForPreTraining.from_pretrained(folder).eval().to(device)
    processor = ViTImageProcessorPil.from_pretrained(folder)

    def answer(image: Image.Image) -> Any:
        with torch.inference_mode():
            out = model(**processor(image, return_tensors="pt").to(device))
            y = model.unpatchify(out.logits)[0].permute(1, 2, 0).cpu()
        pixels = y * torch.tensor(_SHOWN["image_std"]) + torch.tensor(_SHOWN["image_mean"])
        return (pixels.clamp(0, 1) * 255).byte().numpy()

    return answer


def _load_denoise(folder: Path, device: str) -> Answer:
    from spandrel import ModelLoader

    model: Any = ModelLoader(device=device).load_from_file(folder / "nafnet.pth").eval()

    def answer(image: Image.Image) -> Any:
        x = torch.tensor(np.asarray(image)).permute(2, 0, 1)[None] / 255
        with torch.inference_mode():
            y = model(x.to(device))[0].permute(1, 2, 0).cpu()
        return (y.clamp(0, 1) * 255).round().byte().numpy()

    return answer


_LOADERS = {
    "classify": _load_classify,
    "detect": _load_detect,
    "segment": _load_segment,
    "reconstruct": _load_reconstruct,
    "denoise": _load_denoise,
}


def load_starter(task: str) -> None:
    """Build a task's starter and read its weights, for a demo that loads inside its function.

    Those of Classify and Detect without the trunk, so the demo has a little less to do than ours.
    """
    from core import checkpoints
    from core.nets import detector, hybrid

    file = checkpoints.ROOT / "weights" / f"{task}-starter.safetensors"
    config = state_dicts.read_header(file)[1]
    if task == "classify":
        model: Any = hybrid.build(config["arch"])
    elif task == "reconstruct":
        from transformers import ViTMAEConfig, ViTMAEForPreTraining

        mae: Any = ViTMAEConfig.from_dict(config["vit_mae"])
        model = ViTMAEForPreTraining(mae)
    else:
        model = detector.from_settings(config)
    weights = {k: v.float() for k, v in load_file(file).items()}
    missing, unknown = model.load_state_dict(weights, strict=False)
    assert not unknown and set(missing) <= {"head.weight", "head.bias"}  # the trunk's class layer


def load_standin(task: str, folder: Path) -> Answer:
    """The same for the stand-in device, whose answers need no weights."""
    from torchvision import transforms

    from benchmarks import standin

    prepare = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor()])

    def classify(image: Image.Image) -> Any:
        return standin.Classifier()(prepare(image)[None]).softmax(-1)[0].numpy()

    def detect(image: Image.Image) -> Any:
        boxes = standin.Detector()(prepare(image)[None]).pred_boxes[0].numpy()
        corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2]], 1)
        return corners * np.array([*image.size, *image.size])

    def reconstruct(image: Image.Image) -> Any:
        model = standin.Reconstructor()
        out = model(prepare(image)[None], torch.rand(1, 196))
        return (model.unpatchify(out.logits)[0].permute(1, 2, 0).clamp(0, 1) * 255).byte().numpy()

    return {"classify": classify, "detect": detect, "reconstruct": reconstruct}[task]
