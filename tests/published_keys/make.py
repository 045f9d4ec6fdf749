"""Write `<checkpoint>.json` from the program that made the published file, or from one like it.

    python -m tests.published_keys.make detr-r50 [vit-mae-base …]

Run it in an environment that has the program which README.md names for the entry, with the folder
that holds the authors' code in `UPSTREAM` where it is no package. A file that is there keeps its
sources, sizes and configs; names, shapes and answers are written anew.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Callable
from typing import Any

import torch

from tests import published

UPSTREAM = os.environ.get("UPSTREAM", "")
NAMES = {torch.float32: "F32", torch.int64: "I64"}
Answer = dict[str, dict[str, Any]]


def filled(model: Any) -> Any:
    """The model with the numbers of the formula; its fixed tables must be the formula's already."""
    state = kept(model)
    for name, old in state.items():
        new = torch.from_numpy(published.tensor(name, tuple(old.shape), NAMES[old.dtype]))
        if name.endswith(("relative_position_index", "attn_mask")):
            assert torch.equal(new, old), name
        state[name] = new
    model.load_state_dict(state, strict=False)
    return model.eval()


def kept(model: Any) -> dict[str, torch.Tensor]:
    """What the file holds: heads that some detectors have under two names stand there once."""
    state = model.state_dict()
    shared = type(model).__name__.startswith(("DFine", "RTDetrV2"))
    twice = r"(class|bbox)_embed\." if shared else r"\0"
    if type(model).__name__.startswith("GroundingDino"):
        twice = r"(bbox_embed\.[1-9]|model\.decoder\.bbox_embed)\."
    return {name: t for name, t in state.items() if not re.match(twice, name)}


def upstream(module: str, name: str) -> Any:
    """A class of the authors' code in `UPSTREAM`."""
    return getattr(importlib.import_module(module), name)


def given(name: str, *shape: int) -> torch.Tensor:
    return torch.from_numpy(published.numbers(name, shape))


def answers(**outputs: torch.Tensor) -> Answer:
    return {name: published.summary(output.numpy()) for name, output in outputs.items()}


# --- one function an entry: the network, and what it answers (None where that takes too long) ---


def timm_vit(arch: str) -> tuple[Any, Callable[[Any], Answer]]:
    import timm

    model = timm.create_model(arch)
    return model, lambda m: answers(logits=m(given("picture", 1, 3, 224, 224)))


def detr(backbone: str) -> tuple[Any, Callable[[Any], Answer]]:
    import timm
    from transformers import DetrConfig, DetrForObjectDetection
    from transformers.models.detr import modeling_detr

    create = timm.create_model  # the library would fetch the backbone's own weights
    modeling_detr.create_model = lambda name, pretrained=False, **options: create(name, **options)
    model = DetrForObjectDetection(DetrConfig(backbone=backbone, num_labels=91))

    def answer(m: Any) -> Answer:
        out = m(pixel_values=given("picture", 1, 3, 96, 128))
        return answers(logits=out.logits, boxes=out.pred_boxes)

    return model, answer


def yolos(**config: Any) -> tuple[Any, Callable[[Any], Answer]]:
    from transformers import YolosConfig, YolosForObjectDetection

    model = YolosForObjectDetection(YolosConfig(**config, num_labels=91))

    def answer(m: Any) -> Answer:
        out = m(pixel_values=given("picture", 1, 3, 96, 128))
        return answers(logits=out.logits, boxes=out.pred_boxes)

    return model, answer


# HGNetv2-B0, as the D-FINE-N and -S of the authors' configuration files have it.
B0 = {
    "stem_channels": [3, 16, 16],
    "stage_in_channels": [16, 64, 256, 512],
    "stage_mid_channels": [16, 32, 64, 128],
    "stage_out_channels": [64, 256, 512, 1024],
    "stage_num_blocks": [1, 1, 2, 1],
    "stage_numb_of_layers": [3, 3, 3, 3],
    "use_learnable_affine_block": True,
    "hidden_sizes": [64, 256, 512, 1024],
}


def d_fine(stages: tuple[int, ...], **config: Any) -> tuple[Any, Callable[[Any], Answer]]:
    from transformers import DFineConfig, DFineForObjectDetection

    made = DFineConfig(num_labels=80, decoder_layers=3, **config)
    for name, value in B0.items():
        setattr(made.backbone_config, name, value)
    made.backbone_config.out_features = [f"stage{stage}" for stage in stages]
    made.backbone_config.out_indices = list(stages)
    return DFineForObjectDetection(made), boxes


def rt_detr_v2(**config: Any) -> tuple[Any, Callable[[Any], Answer]]:
    from transformers import RTDetrV2Config, RTDetrV2ForObjectDetection

    made = RTDetrV2Config(num_labels=80, **config)
    made.backbone_config.hidden_sizes = [64, 128, 256, 512]
    made.backbone_config.depths = [2, 2, 2, 2]
    made.backbone_config.layer_type = "basic"
    return RTDetrV2ForObjectDetection(made), boxes


def boxes(m: Any) -> Answer:
    out = m(pixel_values=given("picture", 1, 3, 640, 640))
    return answers(logits=out.logits, boxes=out.pred_boxes)


def rf_detr(side: int, layers: int) -> tuple[Any, None]:
    from transformers import RfDetrConfig, RfDetrForObjectDetection

    backbone = {"model_type": "rf_detr_dinov2", "hidden_size": 384, "num_attention_heads": 6}
    backbone |= {"image_size": side, "patch_size": 16, "num_windows": 2}
    backbone |= {"out_features": ["stage3", "stage6", "stage9", "stage12"]}
    config = RfDetrConfig(
        backbone_config=backbone, decoder_layers=layers, decoder_n_points=2, num_labels=91
    )
    return RfDetrForObjectDetection(config), None


def grounding_dino() -> tuple[Any, Callable[[Any], Answer]]:
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection, SwinConfig

    sizes = {"depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24], "out_indices": [2, 3, 4]}
    model = GroundingDinoForObjectDetection(GroundingDinoConfig(SwinConfig(**sizes)))

    def answer(m: Any) -> Answer:
        # [CLS], two words with a full stop after each, [SEP]
        tokens = torch.tensor([[101, 2000, 1012, 3000, 3001, 1012, 102]])
        out = m(pixel_values=given("picture", 1, 3, 256, 256), input_ids=tokens)
        return answers(logits=out.logits[..., :7], boxes=out.pred_boxes)

    return model, answer


def mae(**config: int) -> tuple[Any, Callable[[Any], Answer]]:
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    model = ViTMAEForPreTraining(ViTMAEConfig(**config))

    def answer(m: Any) -> Answer:
        out = m(given("picture", 1, 3, 224, 224), noise=given("noise", 1, 196))
        return answers(logits=out.logits, mask=out.mask)

    return model, answer


def slimsam() -> tuple[Any, Callable[[Any], Answer]]:
    from transformers import SamConfig, SamModel

    model = SamModel(SamConfig(vision_config={"hidden_size": 384, "mlp_dim": 1536}))

    def answer(m: Any) -> Answer:
        points = torch.tensor([[[[300.0, 200.0], [600.0, 500.0]]]])
        features = given("features", 1, 256, 64, 64)
        out = m(image_embeddings=features, input_points=points)
        layer = m.vision_encoder.layers[0](given("tokens", 1, 64, 64, 384))
        layer = layer if torch.is_tensor(layer) else layer[0]
        return answers(masks=out.pred_masks, iou=out.iou_scores, layer=layer)

    return model, answer


def sam2(**backbone: Any) -> tuple[Any, Callable[[Any], Answer]]:
    from transformers import Sam2VideoConfig, Sam2VideoModel

    config = Sam2VideoConfig()
    vision = config.vision_config
    for name, value in backbone.items():
        setattr(vision.backbone_config, name, value)
    channels = list(vision.backbone_config.embed_dim_per_stage)
    vision.backbone_channel_list = channels[::-1]
    model = Sam2VideoModel(config)

    def answer(m: Any) -> Answer:
        from transformers import Sam2Config, Sam2Model

        still = Sam2Model(Sam2Config(vision_config=m.config.vision_config)).eval()
        state = m.state_dict()
        still.load_state_dict({name: state[name] for name in still.state_dict()})
        points = torch.tensor([[[[300.0, 200.0], [600.0, 500.0]]]])
        labels = torch.ones(1, 1, 2, dtype=torch.int64)
        sizes = ((32, 256), (64, 128), (256, 64))
        features = [given(f"features {c}", 1, c, side, side) for c, side in sizes]
        out = still(image_embeddings=features, input_points=points, input_labels=labels)
        layer = still.vision_encoder.backbone.blocks[0](given("tokens", 1, 64, 64, channels[0]))
        return answers(masks=out.pred_masks, iou=out.iou_scores, layer=layer)

    return model, answer


def sam(arch: str) -> tuple[Any, None]:
    from segment_anything import sam_model_registry

    return sam_model_registry[arch](), None


def restoration(model: Any, channels: int = 3) -> tuple[Any, Callable[[Any], Answer]]:
    return model, lambda m: answers(picture=m(given("picture", 1, channels, 64, 64)))


def torchvision(module: str, name: str, **options: Any) -> tuple[Any, Callable[[Any], Answer]]:
    """Of the folder `models` of an old release, renamed so that it is not the installed one."""
    model = upstream(f"torchvision_old.{module}", name)(**options)
    return model, lambda m: answers(logits=m(given("picture", 1, 3, 224, 224)))


def anchored(name: str) -> tuple[Any, Callable[[Any], Answer]]:
    """Of the same release; its `ops` lie beside `models`."""
    model = upstream("torchvision_old.models.detection", name)(weights=None, weights_backbone=None)

    def answer(m: Any) -> Answer:
        levels = m.backbone(given("picture", 1, 3, 96, 128))
        if hasattr(m, "head"):
            out = m.head(list(levels.values()))
            return answers(logits=out["cls_logits"], boxes=out["bbox_regression"])
        scores, moves = m.rpn.head(list(levels.values()))
        crops = m.roi_heads.box_head(given("crops", 2, 256, 7, 7))
        logits, boxes = m.roi_heads.box_predictor(crops)
        return answers(objectness=scores[0], moves=moves[0], logits=logits, boxes=boxes)

    return model, answer


def nafnet(**blocks: Any) -> tuple[Any, Callable[[Any], Answer]]:
    network = upstream("basicsr.models.archs.NAFNet_arch", "NAFNet")
    return restoration(network(img_channel=3, width=32, **blocks))


def drunet() -> tuple[Any, Callable[[Any], Answer]]:
    network = upstream("models.network_unet", "UNetRes")
    return restoration(network(4, 3, [64, 128, 256, 512], nb=4, act_mode="R"), 4)


def scunet() -> tuple[Any, Callable[[Any], Answer]]:
    network = upstream("network_scunet", "SCUNet")
    return restoration(network(in_nc=3, config=[4, 4, 4, 4, 4, 4, 4], dim=64))


def swinir() -> tuple[Any, Callable[[Any], Answer]]:
    network = upstream("network_swinir", "SwinIR")
    return restoration(
        network(
            upscale=2,
            img_size=64,
            window_size=8,
            img_range=1.0,
            depths=[6] * 4,
            embed_dim=60,
            num_heads=[6] * 4,
            mlp_ratio=2,
            upsampler="pixelshuffledirect",
            resi_connection="1conv",
        )
    )


def srvgg() -> tuple[Any, Callable[[Any], Answer]]:
    network = upstream("srvgg_arch", "SRVGGNetCompact")
    return restoration(network(num_feat=64, num_conv=32, upscale=4, act_type="prelu"))


LARGE = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
}
ENTRIES: dict[str, Callable[[], tuple[Any, Callable[[Any], Answer] | None]]] = {
    "vit-base": lambda: (timm_vit("vit_base_patch16_224")[0], None),
    "vit-small": lambda: (timm_vit("vit_small_patch16_224")[0], None),
    "deit-small": lambda: timm_vit("deit_small_patch16_224"),
    "vit-tiny": lambda: timm_vit("vit_tiny_patch16_224"),
    "resnet50": lambda: timm_vit("resnet50"),
    "dino-small": lambda: (timm_vit("vit_small_patch16_224.dino")[0], None),
    "dinov2-small": lambda: (timm_vit("vit_small_patch14_dinov2.lvd142m")[0], None),
    "swin-tiny": lambda: timm_vit("swin_tiny_patch4_window7_224"),
    "efficientnet-b0": lambda: timm_vit("efficientnet_b0"),
    "mobilenetv3-large": lambda: timm_vit("mobilenetv3_large_100"),
    "vgg16": lambda: (timm_vit("vgg16")[0], None),
    "alexnet": lambda: (torchvision("alexnet", "AlexNet")[0], None),
    "googlenet": lambda: torchvision("googlenet", "GoogLeNet", transform_input=True),
    "dfine-small": lambda: d_fine(
        (2, 3, 4), encoder_in_channels=[256, 512, 1024], hidden_expansion=0.5, depth_mult=0.34
    ),
    "dfine-nano": lambda: d_fine(
        (3, 4),
        encoder_hidden_dim=128,
        encoder_ffn_dim=512,
        encoder_in_channels=[512, 1024],
        feat_strides=[16, 32],
        encode_proj_layers=[1],
        hidden_expansion=0.34,
        depth_mult=0.5,
        d_model=128,
        decoder_in_channels=[128, 128],
        num_feature_levels=2,
        decoder_n_points=[6, 6],
        decoder_ffn_dim=512,
    ),
    "rtdetrv2-r18": lambda: rt_detr_v2(
        encoder_in_channels=[128, 256, 512], hidden_expansion=0.5, decoder_layers=3
    ),
    "detr-r50": lambda: detr("resnet50"),
    "detr-r101": lambda: detr("resnet101"),
    "fasterrcnn-r50": lambda: anchored("fasterrcnn_resnet50_fpn_v2"),
    "retinanet-r50": lambda: anchored("retinanet_resnet50_fpn_v2"),
    "ssdlite-mobilenetv3": lambda: anchored("ssdlite320_mobilenet_v3_large"),
    "yolos-tiny": lambda: yolos(
        hidden_size=192,
        intermediate_size=768,
        num_attention_heads=3,
        image_size=[800, 1333],
        use_mid_position_embeddings=False,
    ),
    "rf-detr-medium": lambda: rf_detr(576, 4),
    "rf-detr-small": lambda: rf_detr(512, 3),
    "grounding-dino-tiny": grounding_dino,
    "vit-mae-base": mae,
    "vit-mae-large": lambda: (mae(**LARGE)[0], None),
    "slimsam-50": slimsam,
    "sam2.1-hiera-tiny": sam2,
    "sam2.1-hiera-small": lambda: sam2(
        blocks_per_stage=[1, 2, 11, 2], global_attention_blocks=[7, 10, 13]
    ),
    "sam2.1-hiera-base-plus": lambda: (
        sam2(
            hidden_size=112,
            embed_dim_per_stage=[112, 224, 448, 896],
            num_attention_heads_per_stage=[2, 4, 8, 16],
            blocks_per_stage=[2, 3, 16, 3],
            global_attention_blocks=[12, 16, 20],
            window_positional_embedding_background_size=(14, 14),
        )[0],
        None,
    ),
    "sam2.1-hiera-large": lambda: (
        sam2(
            hidden_size=144,
            embed_dim_per_stage=[144, 288, 576, 1152],
            num_attention_heads_per_stage=[2, 4, 8, 16],
            blocks_per_stage=[2, 6, 36, 4],
            global_attention_blocks=[23, 33, 43],
            window_size_per_stage=[8, 4, 16, 8],
        )[0],
        None,
    ),
    "sam-vit-b": lambda: sam("vit_b"),
    "sam-vit-l": lambda: sam("vit_l"),
    "sam-vit-h": lambda: sam("vit_h"),
    "nafnet-denoise": lambda: nafnet(
        enc_blk_nums=[2, 2, 4, 8], middle_blk_num=12, dec_blk_nums=[2, 2, 2, 2]
    ),
    "nafnet-deblur": lambda: nafnet(
        enc_blk_nums=[1, 1, 1, 28], middle_blk_num=1, dec_blk_nums=[1, 1, 1, 1]
    ),
    "drunet-color": drunet,
    "scunet-color": scunet,
    "swinir-s-x2": swinir,
    "realesr-general-x4": srvgg,
}


# The published size shows that this file holds the shared table under both of its names.
BOTH_NAMES = {f"sam2.1-hiera-{size}" for size in ("tiny", "small", "base-plus", "large")}


def main(names: list[str]) -> None:
    sys.path[:0] = [folder for folder in UPSTREAM.split(":") if folder]
    for name in names:
        model, answer = ENTRIES[name]()
        state = kept(model)
        keys = {k: (tuple(t.shape), NAMES[t.dtype]) for k, t in state.items()}
        shared = {k for k in getattr(model, "_tied_weights_keys", None) or () if k in keys}
        if name in BOTH_NAMES or name.startswith(("dfine", "rtdetr")):
            shared = set()
        path = published.FOLDER / f"{name}.json"
        told = json.loads(path.read_text("utf-8")) if path.exists() else {}
        told["answers"] = None
        if answer is not None:
            with torch.inference_mode():
                told["answers"] = answer(filled(model))
        if "config" not in told and hasattr(getattr(model, "config", None), "to_json_string"):
            told["config"] = json.loads(model.config.to_json_string(use_diff=True))
        told["keys"] = published.pack({k: v for k, v in keys.items() if k not in shared})
        path.write_text(_text(told), "utf-8")
        print(name, len(keys), "keys, left out", sorted(shared), path.stat().st_size, "bytes")


def _text(told: dict[str, Any]) -> str:
    """JSON with one line for each field, answer and pattern."""

    def lines(name: str) -> list[str]:
        value = told[name]
        if name == "keys":
            return [' "keys": [', ",\n".join("  " + json.dumps(row) for row in value), " ]"]
        if name == "answers" and value:
            rows = (f"  {json.dumps(what)}: {json.dumps(row)}" for what, row in value.items())
            return [' "answers": {', ",\n".join(rows), " }"]
        return [f" {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}"]

    order = (
        "source",
        "certainty",
        "bytes",
        "metadata",
        "by_name",
        "wrapper",
        "config",
        "preprocessor",
    )
    present = [name for name in (*order, "answers", "keys") if name in told]
    return "{\n" + ",\n".join("\n".join(lines(name)) for name in present) + "\n}\n"


if __name__ == "__main__":
    main(sys.argv[1:])
