"""Fit the last layer of the predicted IoU in closed form, after training.

Training uses crops and composites, where one click says little about the intended size. Users
segment whole photographs, so the predicted IoU, which selects one of the three masks, is refitted
on whole training pictures by ridge regression on the features of the IoU head.
"""

from __future__ import annotations

import numpy as np
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

from core.imaging.metrics import mask_iou
from training.segment_data import Sample
from training.segment_eval import deepest

SEGMENTS = 3  # masks of a picture
SMALLEST = 0.01


def collect(model: Sam, samples: list[Sample]) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (N, width) of the IoU head after one click, and the true IoU (N, 4) of the masks."""
    predictor, features, truths = SamPredictor(model), [], []
    last = model.mask_decoder.iou_prediction_head.layers[-1]
    hook = last.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0].clone()))
    try:
        for number, sample in enumerate(samples):
            predictor.set_image(sample.image)
            label = sample.maps[0]
            values = [v for v in np.unique(label) if v and (label == v).mean() >= SMALLEST]
            for value in np.random.default_rng(number).permutation(values)[:SEGMENTS]:
                mask = label == value
                point = np.array([deepest(mask)], float)
                single, _, _ = predictor.predict(point, np.ones(1), multimask_output=False)
                three, _, _ = predictor.predict(point, np.ones(1), multimask_output=True)
                features.pop()  # both calls give the same features
                truths.append([mask_iou(m, mask) for m in (*single, *three)])
    finally:
        hook.remove()
    return torch.cat(features), torch.tensor(truths)


def fit(model: Sam, samples: list[Sample], ridge: float = 1e-2) -> None:
    """Replace weight and bias of the last layer of the IoU head; changes `model`.

    Args:
        ridge: penalty on the distance from the trained weights, relative to the features' mean
            square.
    """
    features, truths = collect(model, samples)
    last = model.mask_decoder.iou_prediction_head.layers[-1]
    x = torch.cat([features, torch.ones(len(features), 1)], 1).double()
    old = torch.cat([last.weight, last.bias[:, None]], 1).double()
    error = truths.double() - x @ old.T  # (N, 4)
    penalty = ridge * len(x) * x[:, :-1].square().mean() * torch.eye(x.shape[1]).double()
    penalty[-1, -1] = 0
    move = torch.linalg.solve(x.T @ x + penalty, x.T @ error).T.float()
    with torch.no_grad():
        last.weight += move[:, :-1]
        last.bias += move[:, -1]
