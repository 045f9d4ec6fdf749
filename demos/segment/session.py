"""What a visitor of the Segment tab has on the canvas, and the answers to what is done there."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core import images
from core.errors import HubError, InputError
from demos.canvas.answers import SHOWN_SIDE, canvas_answer
from demos.canvas.gestures import Choice, Gesture, Painted, Prompted
from demos.shell import ui

if TYPE_CHECKING:
    from core.types import Mask, Masks

PREVIEW_SIDE = 512
FILE_NAME = "picture.png"  # of a picture that came without a name
ONLY_EXCLUDES = "Nothing is included yet: click what you want, or draw a box around it."
FORGOTTEN = "The hub no longer knows this picture; please choose it again."


@dataclass(frozen=True, slots=True)
class Grid:
    """One run of everything mode: its checkpoint and settings; `min_area` in pixels."""

    checkpoint: str
    points_per_side: int
    pred_iou_thresh: float
    stability_score_thresh: float
    min_area: float
    only_things: bool = False


@dataclass(frozen=True, slots=True)
class Pick:
    """Where a mask of everything mode was picked, in pixels, and how many it has."""

    grid: Grid
    x: int
    y: int
    area: int


@dataclass(eq=False)
class Session:
    """The picture's `id` on the canvas and its digest, the newest gesture, and masks by key.

    It lies in gr.State, one for each visitor and picture, and is changed in place: gestures are
    answered side by side, and all of them hold this same object. Never pixels or tensors.
    """

    id: str
    digest: str
    gesture: Gesture | None = None
    gone: bool = False  # another picture took its place
    asked: dict[int, tuple[int, int]] = field(default_factory=dict)  # object -> newest (seq, rev)
    given: dict[str, Mask] = field(default_factory=dict)  # masks that objects began with
    found: tuple[Mask, ...] = ()  # what everything mode gave
    grid: Grid | None = None  # how
    running: bool = False  # everything mode is at work, or was cancelled
    turn: int = 0  # of everything mode; a run whose turn is over ends at its next step
    picked: dict[str, Pick] = field(default_factory=dict)  # by the key of the mask
    reference: dict[str, Any] | None = None  # COCO run lengths of what an object should be
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def note(self, gesture: Gesture) -> None:
        """Remember a gesture, if none that came later was seen before it."""
        with self._lock:
            if self.gesture is None or gesture.seq > self.gesture.seq:
                self.gesture = gesture
            for number in gesture.want:
                one = gesture.object(number)
                if one and gesture.seq > self.asked.get(number, (-1, 0))[0]:
                    self.asked[number] = (gesture.seq, one.rev)

    def holds(self, gesture: Gesture, one: Prompted) -> bool:
        """Whether the answer is still wanted: neither picture nor prompts have changed since."""
        if self.gone or gesture.picture != self.id:
            return False
        seq, rev = self.asked.get(one.id, (gesture.seq, one.rev))
        return seq <= gesture.seq or rev == one.rev

    def objects(self) -> list[Prompted]:
        """Those on the canvas now that ask for a mask."""
        known = () if self.gesture is None else self.gesture.objects
        return [one for one in known if one.includes]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the controls of the tab say."""

    checkpoint: str = "auto"
    min_area: float = 0


def settings_of(picture: images.Picture, checkpoint: str, smallest: float) -> Settings:
    """The controls' values; `smallest` is a share of the picture in percent."""
    share = min(max(float(smallest or 0), 0.0), 100.0) / 100
    return Settings(checkpoint, share * picture.size[0] * picture.size[1])


def answer(
    picture: images.Picture,
    session: Session,
    settings: Settings,
    gesture: Gesture,
    flush: bool = False,
) -> tuple[dict[str, Any] | None, str | None]:
    """The masks that a gesture wants, for the canvas, and the info line.

    None for both where other gestures or another picture have taken its place.
    """
    wanted = [one for one in gesture.objects if one.id in gesture.want and not one.bare]
    painted, info = [], None
    for one in wanted:
        if not session.holds(gesture, one):
            continue
        made, said = _painted(picture, session, settings, one)
        if session.holds(gesture, one):
            painted.append(made)
            info = said or info
    if wanted and not painted:
        return None, None
    active = gesture.object(gesture.active)
    mine = [made for made in painted if active and made.rev == active.rev]
    status = mine[0].status if mine else None
    return canvas_answer(gesture, painted, status=status, flush=flush), info


def again(
    picture: images.Picture | None, checkpoint: str, smallest: float, session: Session | None
) -> tuple[Any, Any]:
    """For canvas and info line: every mask anew, since a control moved that changes them."""
    if session is None or picture is None or session.gesture is None:
        return gr.skip(), gr.skip()
    gesture = replace(session.gesture, want=tuple(one.id for one in session.objects()))
    settings = settings_of(picture, checkpoint, smallest)
    return outputs_of(*answer(picture, session, settings, gesture, flush=True))


def outputs_of(value: Any, info: str | None) -> tuple[Any, Any]:
    """What `answer` gives, with None as "as it is"."""
    return (gr.skip() if value is None else value), (gr.skip() if info is None else info)


def _painted(
    picture: images.Picture, session: Session, settings: Settings, one: Prompted
) -> tuple[Painted, str | None]:
    """The mask of one object for the canvas; what is wrong is said on the canvas, which waits."""
    mask = given(session, one)
    if mask is not None:
        shown = shrunk(mask.mask, SHOWN_SIDE)
        words = describe(shown, mask.score, mask.stability)
        return Painted(one.rev, shown, _note(shown, mask.score), words), None
    try:
        found = masks(picture, session, settings, one, SHOWN_SIDE)
    except HubError as error:
        return Painted(one.rev, None, "no mask", str(error)), None
    except Exception as error:
        said = ui.as_gradio_error(error).message
        return Painted(one.rev, None, "no mask", said), None
    k = chosen(found, one)
    shown = found.masks[k]
    words = describe(shown, float(found.scores[k]), float(_stability(found)[k]), _name(found, k))
    made = Painted(one.rev, shown, _note(shown, float(found.scores[k])), words, _choices(found), k)
    return made, ui.info_html(found.info)


def masks(
    picture: images.Picture,
    session: Session,
    settings: Settings,
    one: Prompted,
    side: int | None = None,
    point: list[float] | None = None,
) -> Masks:
    """What SAM answers for an object, with one more `point` where that is given."""
    from core import segment as task

    points, box = [*one.points, *([point] if point else [])], one.box
    base = session.given.get(one.given or "")
    if base is not None and box is None:
        box = list(base.box)  # a picked mask goes on from its box
    if box is None and not any(label for *_, label in points):
        raise InputError(ONLY_EXCLUDES)
    return task.predict(
        picture,
        points,
        box,
        settings.checkpoint,
        refine=min(one.choice or 0, 2),
        min_area=settings.min_area,
        max_side=side,
    )


def given(session: Session, one: Prompted) -> Mask | None:
    """The mask that an object began with, while nothing was added to it."""
    if one.given is None or one.points or one.box:
        return None
    return session.given.get(one.given)


def chosen(found: Masks, one: Prompted) -> int:
    """Index of the mask that stands for the object."""
    return min(one.choice or 0, len(found.masks) - 1)


def shrunk(mask: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    """(H, W) bool with its longer side at most `side`."""
    factor = side / max(mask.shape)
    if factor >= 1:
        return mask
    size = (max(1, round(mask.shape[1] * factor)), max(1, round(mask.shape[0] * factor)))
    return np.array(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))


def describe(mask: NDArray[np.bool_], score: float, stability: float, name: str = "") -> str:
    """A mask in words, for the line below the picture."""
    which = f" {name}" if name else ""
    return (
        f"Mask{which}, {mask.mean():.1%} of the picture. "
        f"The model's own guess: {shown_iou(score)} of 1, stability {stability:.2f}"
    )


def _note(mask: NDArray[np.bool_], score: float) -> str:
    return f"{mask.mean():.1%}, guess {shown_iou(score)}"


def shown_iou(score: float) -> str:
    """A predicted IoU as it is shown: nothing keeps SAM's guess below 1."""
    return f"{min(score, 1):.2f}"


def _name(found: Masks, index: int) -> str:
    """ "A (largest)": a letter in the order shown, and the size; "" for a mask that is alone."""
    if len(found.masks) < 2:
        return ""
    letter = chr(ord("A") + index)
    return f"{letter} ({found.names[index]})" if found.names else letter


def _stability(found: Masks) -> NDArray[np.float32]:
    return np.zeros_like(found.scores) if found.stability is None else found.stability


def _choices(found: Masks) -> list[Choice]:
    if len(found.masks) < 2:
        return []
    rows = zip(found.masks, found.scores, _stability(found), strict=True)
    return [
        Choice(
            mask,
            _name(found, i),
            f"{mask.mean():.1%} · model's own guess {shown_iou(score)}",
        )
        for i, (mask, score, stability) in enumerate(rows)
    ]
