"""Small random networks of the kinds that the tasks load, and what their files say of them."""

from __future__ import annotations

from typing import Any

import torch

MEAN, STD = [0.48, 0.45, 0.41], [0.23, 0.22, 0.22]


def vit(classes: int = 4) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Our small ViT and the config of its starter file."""
    from core.nets import vit as own

    torch.manual_seed(0)
    arch = {
        "image_size": 32,
        "stem_widths": [8, 16],
        "stem_pooled": [True, True],
        "dim": 16,
        "depth": 2,
        "heads": 2,
        "mlp_ratio": 2.0,
        "classes": classes,
    }
    config = {
        "arch": arch,
        "labels": [f"thing {i}" for i in range(classes)],
        "input_size": 32,
        "mean": MEAN,
        "std": STD,
        "crop_pct": 0.9,
        "interpolation": "bicubic",
    }
    return own.build(arch).eval(), config


def detr(queries: int = 12) -> tuple[Any, dict[str, Any]]:
    """A DETR whose queries differ clearly in score, and the config of its starter file."""
    from transformers import DetrConfig, DetrForObjectDetection

    torch.manual_seed(0)
    config = DetrConfig(
        use_timm_backbone=True,
        backbone="test_resnet",
        use_pretrained_backbone=False,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_queries=queries,
        id2label={0: "cat", 1: "dog", 2: "cup"},
    )
    model = DetrForObjectDetection(config).eval()
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.Linear):
                sharp = name.endswith(("q_proj", "k_proj"))
                torch.nn.init.xavier_uniform_(module.weight, gain=4 if sharp else 1.5)
        model.model.query_position_embeddings.weight.normal_()
        # Random queries are nearly alike; the heads look only at what sets them apart.
        common = model.model(torch.randn(1, 3, 96, 96)).last_hidden_state.mean((0, 1))
        for head in (model.class_labels_classifier, model.bbox_predictor.layers[0]):
            head.weight.mul_(10)
            head.bias.copy_(-head.weight @ common)
    size = {"shortest_edge": 96, "longest_edge": 160}
    return model, {"detr": config.to_dict(), "size": size, "mean": MEAN, "std": STD}


def mae(norm_pix_loss: bool = False) -> tuple[Any, dict[str, Any]]:
    """A ViT-MAE of 8 x 8 patches, and the config of its starter file."""
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    torch.manual_seed(0)
    config = ViTMAEConfig(
        image_size=32,
        patch_size=4,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        decoder_hidden_size=16,
        decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=32,
        norm_pix_loss=norm_pix_loss,
    )
    model = ViTMAEForPreTraining(config).eval()
    return model, {"vit_mae": config.to_dict(), "mean": MEAN, "std": STD}


def sam() -> Any:
    """Meta's own SAM at 128 px with two layers."""
    from segment_anything.modeling import ImageEncoderViT, Sam

    torch.manual_seed(0)
    encoder = ImageEncoderViT(
        img_size=128,
        patch_size=16,
        embed_dim=32,
        depth=2,
        num_heads=2,
        out_chans=32,
        qkv_bias=True,
        use_rel_pos=True,
        window_size=4,
        global_attn_indexes=(1,),
    )
    return sharpen(Sam(encoder, *_sam_heads(32, 8, 128)).eval())


def own_sam(seed: int = 23) -> tuple[Any, dict[str, Any]]:
    """The project's small SAM, and the config of its starter file."""
    from core.nets import sam as own

    torch.manual_seed(seed)  # 23: a network that is sure of some masks
    config = {"img_size": 64, "dim": 32, "trunk": "test_efficientnet"}
    return sharpen(own.build(**config).eval()), {"sam": config}


def hf_sam() -> Any:
    """The SAM of transformers at 128 px with two layers."""
    from transformers import SamConfig, SamModel

    torch.manual_seed(0)
    vision = {
        "hidden_size": 32,
        "output_channels": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 128,
        "window_size": 4,
        "global_attn_indexes": [1],
        "num_pos_feats": 16,
        "mlp_dim": 64,
    }
    config = SamConfig(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": 32, "image_size": 128},
        mask_decoder_config=_HF_DECODER,
    )
    return _awake(SamModel(config).eval())


def hf_sam2(video: bool = False) -> Any:
    """The SAM 2 of transformers at 128 px with five blocks; `video` adds its memory."""
    from transformers import Sam2Config, Sam2Model, Sam2VideoConfig, Sam2VideoModel

    torch.manual_seed(0)
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "image_size": [128, 128],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [4, 4, 4, 4],
        "global_attention_blocks": [3],
    }
    parts = {
        "vision_config": {
            "model_type": "sam2_vision_model",
            "backbone_config": backbone,
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
            "fpn_hidden_size": 32,
        },
        "prompt_encoder_config": {"hidden_size": 32, "image_size": 128},
        "mask_decoder_config": _HF_DECODER,
    }
    if not video:
        return _awake(Sam2Model(Sam2Config(**parts)).eval())
    memory = {
        "memory_attention_hidden_size": 32,
        "memory_attention_num_layers": 1,
        "memory_attention_feed_forward_hidden_size": 32,
        "memory_attention_rope_feat_sizes": [8, 8],
        "memory_encoder_hidden_size": 32,
        "memory_encoder_output_channels": 16,
        "mask_downsampler_embed_dim": 32,
        "memory_fuser_embed_dim": 32,
        "memory_fuser_intermediate_dim": 32,
    }
    return _awake(Sam2VideoModel(Sam2VideoConfig(image_size=128, **memory, **parts)).eval())


_HF_DECODER = {
    "hidden_size": 32,
    "mlp_dim": 64,
    "num_attention_heads": 2,
    "iou_head_hidden_dim": 32,
}


def _awake(model: Any) -> Any:
    """transformers begins with weights so small that every picture is alike; and see `sharpen`."""
    plain = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.ConvTranspose2d)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, plain):
                module.reset_parameters()
        if hasattr(model, "no_memory_embedding"):
            model.no_memory_embedding.normal_()
            positions = model.shared_image_embedding.positional_embedding
            model.prompt_encoder.shared_embedding.positional_embedding.copy_(positions)
        for mlp in model.mask_decoder.output_hypernetworks_mlps:
            mlp.proj_out.weight.mul_(2000)
        head = model.mask_decoder.iou_prediction_head
        head.proj_out.weight.mul_(3)
        head.proj_out.bias.fill_(3.0 if head.sigmoid_output else 0.9)
    return model


def _sam_heads(dim: int, grid: int, side: int) -> tuple[Any, Any]:
    from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer

    prompts = PromptEncoder(
        embed_dim=dim,
        image_embedding_size=(grid, grid),
        input_image_size=(side, side),
        mask_in_chans=16,
    )
    transformer = TwoWayTransformer(depth=2, embedding_dim=dim, num_heads=2, mlp_dim=64)
    return prompts, MaskDecoder(transformer_dim=dim, transformer=transformer)


def sharpen(model: Any) -> Any:
    """Random SAMs answer with logits near 0; with these, masks are stable and think well of
    themselves, so that everything mode keeps some."""
    with torch.no_grad():
        for mlp in model.mask_decoder.output_hypernetworks_mlps:
            mlp.layers[-1].weight.mul_(3000)
        head = model.mask_decoder.iou_prediction_head.layers[-1]
        head.weight.mul_(5)
        head.bias.fill_(0.9)
    return model


def nafnet() -> Any:
    """Denoising or deblurring at the picture's own size."""
    from spandrel.architectures.NAFNet import NAFNet

    torch.manual_seed(0)
    net = NAFNet(img_channel=3, width=8, middle_blk_num=1, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1])
    with torch.no_grad():
        for name, value in net.named_parameters():
            if name.endswith(("beta", "gamma")):  # 0 at first, which would switch the blocks off
                value.fill_(0.5)
    return net.eval()


def compact(scale: int = 2) -> Any:
    """Super-resolution that sees 4 pixels to each side."""
    from spandrel.architectures.Compact import Compact

    torch.manual_seed(0)
    return Compact(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=2, upscale=scale).eval()


def drunet(channels: int = 3) -> Any:
    """Denoising with a map of the noise level as one channel more."""
    from spandrel.architectures.DRUNet import DRUNet

    torch.manual_seed(0)
    return DRUNet(in_nc=channels + 1, out_nc=channels, nc=[8, 8, 16, 16], nb=2).eval()


def dncnn(inputs: int, outputs: int, mode: str = "DnCNN") -> Any:
    """Denoising by subtraction; "FDnCNN" takes a noise level."""
    from spandrel.architectures.DnCNN import DnCNN

    torch.manual_seed(0)
    return DnCNN(in_nc=inputs, out_nc=outputs, nc=8, nb=8, act_mode="R", mode=mode).eval()


def deformable_detr(kind: str) -> tuple[Any, dict[str, Any]]:
    """A small "rt_detr", "rt_detr_v2" or "d_fine" with random weights on 64 x 64 pixels, and the
    config of its file."""
    import transformers

    name = {"rt_detr": "RTDetr", "rt_detr_v2": "RTDetrV2", "d_fine": "DFine"}[kind]
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "encoder_hidden_dim": 32,
        "encoder_in_channels": [16, 24, 32],
        "encoder_ffn_dim": 32,
        "encoder_attention_heads": 2,
        "encoder_layers": 2,
        "d_model": 32,
        "num_queries": 9,
        "decoder_in_channels": [32, 32, 32],
        "decoder_ffn_dim": 32,
        "decoder_layers": 3,
        "decoder_attention_heads": 4,
        "hidden_expansion": 0.5,
        "num_denoising": 0,
        "id2label": {0: "cat", 1: "dog", 2: "cup"},
    }
    backbone: dict[str, Any] = {
        "model_type": "rt_detr_resnet",
        "embedding_size": 8,
        "hidden_sizes": [8, 16, 24, 32],
        "depths": [1, 1, 1, 1],
        "layer_type": "basic",
        "out_features": ["stage2", "stage3", "stage4"],
    }
    if kind == "d_fine":
        sizes |= {"decoder_n_points": [3, 6, 3], "max_num_bins": 8, "lqe_hidden_dim": 8}
        backbone = {
            "model_type": "hgnet_v2",
            "embedding_size": 8,
            "stem_channels": [3, 8, 8],
            "stage_in_channels": [8, 8, 16, 24],
            "stage_mid_channels": [8, 8, 8, 8],
            "stage_out_channels": [8, 16, 24, 32],
            "stage_num_blocks": [1, 1, 1, 1],
            "stage_numb_of_layers": [1, 1, 1, 1],
            "hidden_sizes": [8, 16, 24, 32],
            "depths": [1, 1, 1, 1],
            "out_features": ["stage2", "stage3", "stage4"],
        }
    config = getattr(transformers, f"{name}Config")(backbone_config=backbone, **sizes)
    model = getattr(transformers, f"{name}ForObjectDetection")(config).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                torch.nn.init.normal_(module.weight, std=0.3)
    side = {"height": 64, "width": 64}
    return model, {"detr": config.to_dict(), "size": side, "mean": [0.0] * 3, "std": [1.0] * 3}


def bert_tokenizer() -> Any:
    """BERT's, with the marks at its own numbers, which Grounding DINO has in its code, and a few
    words."""
    from transformers import BertTokenizer

    marks = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
    words = ("a", "red", "cup", "cat", "dog", "##s", "face")
    marks |= {1012: ".", 1029: "?", **dict(enumerate(words, 1040))}
    return BertTokenizer(vocab={marks.get(i, f"[unused{i}]"): i for i in range(1050)})
