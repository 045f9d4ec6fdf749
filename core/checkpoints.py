"""Every checkpoint the hub knows, as data; adding one is one line of `CATALOGUE`.

Within a task, full checkpoints stand in the order in which "auto" prefers them. Where a published
checksum or commit could be confirmed it is pinned; elsewhere it is None and the hub's own checksum
is what a download is held against.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Task = Literal["classify", "detect", "segment", "reconstruct", "denoise", "super_resolve", "deblur"]
Loader = Literal["timm", "transformers", "sam", "spandrel"]
Tier = Literal["full", "starter", "own"]

TASKS: tuple[Task, ...] = (
    "classify",
    "detect",
    "segment",
    "reconstruct",
    "denoise",
    "super_resolve",
    "deblur",
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One set of weights and where it comes from.

    `source` is a hub repository ("owner/name"), a path inside the repository of this project
    (starters) or an absolute path (the user's own). `filename` is the weight file inside a hub
    repository; `extra_files` are fetched beside it. `arch` names the architecture where the file
    does not tell it. `scale` is output size over input size. `metric` is a published or measured
    figure with its data set; `size_mb` is 1e6 bytes, `params_m` millions of parameters.
    """

    key: str
    task: Task
    loader: Loader
    source: str
    licence: str
    title: str = ""
    filename: str = ""
    tier: Tier = "full"
    size_mb: float = 0.0
    params_m: float = 0.0
    metric: str = ""
    trained_on: str = ""
    revision: str | None = None
    sha256: str | None = None
    arch: str = ""
    scale: int = 1
    note: str = ""
    extra_files: tuple[str, ...] = ()


_HF_FILES = ("config.json", "preprocessor_config.json")
_IN21K = "ImageNet-21k, then ImageNet-1k"
_MAE_LICENCE = "CC-BY-NC-4.0 (non-commercial)"
_MAE_NOTE = (
    "The original release says CC-BY-NC-4.0, the hub's page Apache-2.0; the stricter one is shown."
)
_SAM_REVISION = "7790786db131bcdc639f24a915d9f2c331d843ee"
_NAFNET = "nyanko7/nafnet-models"


CATALOGUE: tuple[Checkpoint, ...] = (
    # --- starters: in the repository, trained by training/ ---
    Checkpoint(
        "classify-cifar10",
        "classify",
        "timm",
        "weights/classify-cifar10.safetensors",
        "Apache-2.0",
        title="Starter ViT",
        tier="starter",
    ),
    Checkpoint(
        "detect-starter",
        "detect",
        "transformers",
        "weights/detect-starter.safetensors",
        "Apache-2.0",
        title="Starter DETR",
        tier="starter",
    ),
    Checkpoint(
        "segment-starter",
        "segment",
        "sam",
        "weights/segment-starter.safetensors",
        "Apache-2.0",
        title="Starter SAM",
        tier="starter",
    ),
    Checkpoint(
        "reconstruct-starter",
        "reconstruct",
        "transformers",
        "weights/reconstruct-starter.safetensors",
        "Apache-2.0",
        title="Starter MAE",
        tier="starter",
    ),
    Checkpoint(
        "denoise-starter",
        "denoise",
        "spandrel",
        "weights/denoise-starter.safetensors",
        "Apache-2.0",
        title="Starter denoiser",
        tier="starter",
    ),
    Checkpoint(
        "super-resolve-x2-starter",
        "super_resolve",
        "spandrel",
        "weights/super-resolve-x2-starter.safetensors",
        "Apache-2.0",
        title="Starter x2",
        tier="starter",
        scale=2,
    ),
    Checkpoint(
        "super-resolve-x4-starter",
        "super_resolve",
        "spandrel",
        "weights/super-resolve-x4-starter.safetensors",
        "Apache-2.0",
        title="Starter x4",
        tier="starter",
        scale=4,
    ),
    Checkpoint(
        "deblur-starter",
        "deblur",
        "spandrel",
        "weights/deblur-starter.safetensors",
        "Apache-2.0",
        title="Starter deblurrer",
        tier="starter",
    ),
    # --- classify ---
    Checkpoint(
        "vit-base",
        "classify",
        "timm",
        "timm/vit_base_patch16_224.augreg2_in21k_ft_in1k",
        "Apache-2.0",
        title="ViT-B/16",
        filename="model.safetensors",
        size_mb=346,
        params_m=86.6,
        metric="85.1 % top-1 on ImageNet-1k",
        trained_on=_IN21K,
        revision="063c6c38a5d8510b2e57df480445e94b231dad2c",
        arch="vit_base_patch16_224.augreg2_in21k_ft_in1k",
    ),
    Checkpoint(
        "vit-small",
        "classify",
        "timm",
        "timm/vit_small_patch16_224.augreg_in21k_ft_in1k",
        "Apache-2.0",
        title="ViT-S/16",
        filename="model.safetensors",
        size_mb=88,
        params_m=22.1,
        metric="81.4 % top-1 on ImageNet-1k",
        trained_on=_IN21K,
        arch="vit_small_patch16_224.augreg_in21k_ft_in1k",
    ),
    Checkpoint(
        "deit-small",
        "classify",
        "timm",
        "timm/deit_small_patch16_224.fb_in1k",
        "Apache-2.0",
        title="DeiT-S/16",
        filename="model.safetensors",
        size_mb=88,
        params_m=22.1,
        metric="79.9 % top-1 on ImageNet-1k",
        trained_on="ImageNet-1k",
        arch="deit_small_patch16_224.fb_in1k",
    ),
    Checkpoint(
        "vit-tiny",
        "classify",
        "timm",
        "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k",
        "Apache-2.0",
        title="ViT-Ti/16",
        filename="model.safetensors",
        size_mb=23,
        params_m=5.7,
        metric="75.5 % top-1 on ImageNet-1k",
        trained_on=_IN21K,
        arch="vit_tiny_patch16_224.augreg_in21k_ft_in1k",
    ),
    # --- detect ---
    Checkpoint(
        "detr-r101",
        "detect",
        "transformers",
        "facebook/detr-resnet-101",
        "Apache-2.0",
        title="DETR ResNet-101",
        filename="model.safetensors",
        size_mb=243,
        params_m=60.7,
        metric="43.5 AP on COCO val2017",
        trained_on="COCO 2017",
        extra_files=_HF_FILES,
    ),
    Checkpoint(
        "detr-r50",
        "detect",
        "transformers",
        "facebook/detr-resnet-50",
        "Apache-2.0",
        title="DETR ResNet-50",
        filename="model.safetensors",
        size_mb=167,
        params_m=41.6,
        metric="42.0 AP on COCO val2017",
        trained_on="COCO 2017",
        revision="1d5f47bd3bdd2c4bbfa585418ffe6da5028b4c0b",
        extra_files=_HF_FILES,
    ),
    # --- segment ---
    Checkpoint(
        "sam-vit-h",
        "segment",
        "sam",
        "ybelkada/segment-anything",
        "Apache-2.0",
        title="SAM ViT-H",
        filename="checkpoints/sam_vit_h_4b8939.pth",
        size_mb=2564.6,
        params_m=641.1,
        trained_on="SA-1B",
        revision=_SAM_REVISION,
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        arch="vit_h",
    ),
    Checkpoint(
        "sam-vit-l",
        "segment",
        "sam",
        "ybelkada/segment-anything",
        "Apache-2.0",
        title="SAM ViT-L",
        filename="checkpoints/sam_vit_l_0b3195.pth",
        size_mb=1249.5,
        params_m=312.3,
        trained_on="SA-1B",
        revision=_SAM_REVISION,
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        arch="vit_l",
    ),
    Checkpoint(
        "sam-vit-b",
        "segment",
        "sam",
        "ybelkada/segment-anything",
        "Apache-2.0",
        title="SAM ViT-B",
        filename="checkpoints/sam_vit_b_01ec64.pth",
        size_mb=375.0,
        params_m=93.7,
        trained_on="SA-1B",
        revision=_SAM_REVISION,
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        arch="vit_b",
    ),
    # --- reconstruct ---
    Checkpoint(
        "vit-mae-large",
        "reconstruct",
        "transformers",
        "facebook/vit-mae-large",
        _MAE_LICENCE,
        title="ViT-MAE large",
        filename="pytorch_model.bin",
        size_mb=1320,
        params_m=329.5,
        trained_on="ImageNet-1k",
        revision="142cb8c25e1b1bc1769997a919aa1b5a2345a6b8",
        note=_MAE_NOTE,
        extra_files=_HF_FILES,
    ),
    Checkpoint(
        "vit-mae-base",
        "reconstruct",
        "transformers",
        "facebook/vit-mae-base",
        _MAE_LICENCE,
        title="ViT-MAE base",
        filename="model.safetensors",
        size_mb=448,
        params_m=111.9,
        trained_on="ImageNet-1k",
        note=_MAE_NOTE,
        extra_files=_HF_FILES,
    ),
    # --- restore ---
    Checkpoint(
        "nafnet-denoise",
        "denoise",
        "spandrel",
        _NAFNET,
        "MIT",
        title="NAFNet-32 SIDD",
        filename="NAFNet-SIDD-width32.pth",
        size_mb=116.9,
        params_m=29.2,
        metric="39.97 dB PSNR on SIDD",
        trained_on="SIDD",
        sha256="89c70e808d1783b6c07911306e106aaf0d4f7f3da8c61078b99ff7f8929a26f4",
        note="Mirror of the authors' file; made for the noise of phone cameras.",
    ),
    Checkpoint(
        "drunet-color",
        "denoise",
        "spandrel",
        "deepinv/drunet",
        "MIT",
        title="DRUNet",
        filename="drunet_color.pth",
        size_mb=130.6,
        params_m=32.6,
        trained_on="BSD400, WED, DIV2K, Flickr2K",
        note="Takes the noise level as a map; the hub's page says BSD, the original code MIT.",
    ),
    Checkpoint(
        "swinir-s-x2",
        "super_resolve",
        "spandrel",
        "deepinv/swinir",
        "Apache-2.0",
        title="SwinIR-S x2",
        filename="002_lightweightSR_DIV2K_s64w8_SwinIR-S_x2.pth",
        size_mb=17.1,
        params_m=0.9,
        metric="38.14 dB PSNR on Set5",
        trained_on="DIV2K",
        sha256="193b229909ca89cd8b55de9c9e7fce146ae759d59dfcd78d8feb9dd1d6fa0fd7",
        scale=2,
    ),
    Checkpoint(
        "realesr-general-x4",
        "super_resolve",
        "spandrel",
        "jhj0517/realesr-general-x4v3",
        "BSD-3-Clause",
        title="Real-ESRGAN general x4",
        filename="realesr-general-x4v3.pth",
        size_mb=4.9,
        params_m=1.2,
        trained_on="DIV2K, Flickr2K, OST",
        sha256="8dc7edb9ac80ccdc30c3a5dca6616509367f05fbc184ad95b731f05bece96292",
        scale=4,
        note="Mirror of the authors' release v0.2.5.0.",
    ),
    Checkpoint(
        "nafnet-deblur",
        "deblur",
        "spandrel",
        _NAFNET,
        "MIT",
        title="NAFNet-32 GoPro",
        filename="NAFNet-GoPro-width32.pth",
        size_mb=68.7,
        params_m=17.1,
        metric="32.87 dB PSNR on GoPro",
        trained_on="GoPro",
        sha256="19394e6155d12ef6371d1d57496f87f0ec88f92bdffa27c0792690722d5d1a5c",
        note="Mirror of the authors' file; made for motion blur.",
    ),
)

_BY_KEY = {checkpoint.key: checkpoint for checkpoint in CATALOGUE}


def by_key(key: str) -> Checkpoint | None:
    """The catalogue's checkpoint of that key; None where there is none."""
    return _BY_KEY.get(key)


def of_task(task: Task) -> tuple[Checkpoint, ...]:
    """All of one task in the catalogue, starters first."""
    found = [c for c in CATALOGUE if c.task == task]
    return tuple(sorted(found, key=lambda c: c.tier != "starter"))


def starter(task: Task, scale: int | None = None) -> Checkpoint | None:
    """The first starter of a task (and of that scale, where one is asked for)."""
    for checkpoint in of_task(task):
        if checkpoint.tier == "starter" and scale in (None, checkpoint.scale):
            return checkpoint
    return None
