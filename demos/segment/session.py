"""The state of a visitor's canvas on the Segment tab, and the answers to gestures."""

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
FILE_NAME = "picture.png"  # for a picture without a name
ONLY_EXCLUDES = "Nothing is included yet: click what you want, or draw a box around it."
FORGOTTEN = "The app no longer has this picture; please choose it again."


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
    """Where a mask of everything mode was picked, and its area, in pixels."""

    grid: Grid
    x: int
    y: int
    area: int


@dataclass(frozen=True, slots=True)
class Settings:
    """The values of the tab's controls."""

    checkpoint: str = "auto"
    min_area: float = 0


@dataclass(eq=False)
class Session:
    """The picture's `id` on the canvas and its digest, the newest gesture, and masks by key.

    Stored in gr.State, one for each visitor and picture, and modified in place: gestures are
    answered concurrently and share this object. It never contains pixels or tensors.
    """

    id: str
    digest: str
    gesture: Gesture | None = None
    gone: bool = False  # replaced by another picture
    asked: dict[int, tuple[int, int]] = field(default_factory=dict)  # object -> newest (seq, rev)
    given: dict[str, Mask] = field(default_factory=dict)  # initial masks of objects
    found: tuple[Mask, ...] = ()  # from everything mode
    grid: Grid | None = None  # its settings
    running: bool = False  # whether everything mode is running
    turn: int = 0  # of everything mode; an outdated run ends at its next step
    picked: dict[str, Pick] = field(default_factory=dict)  # by the key of the mask
    reference: dict[str, Any] | None = None  # COCO run lengths of the reference mask
    settings: Settings | None = None  # of the masks that are shown
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def note(self, gesture: Gesture) -> None:
        """Remember a gesture, unless a later one has already arrived."""
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
        """The objects on the canvas that need a mask."""
        known = () if self.gesture is None else self.gesture.objects
        return [one for one in known if one.includes]


def settings_of(picture: images.Picture, checkpoint: str, smallest: float) -> Settings:
    """The controls' values as `Settings`; `smallest` is a percentage of the picture."""
    share = min(max(float(smallest or 0), 0.0), 100.0) / 100
    return Settings(checkpoint, share * picture.size[0] * picture.size[1])


def answer(
    picture: images.Picture,
    session: Session,
    settings: Settings,
    gesture: Gesture,
    flush: bool = False,
) -> tuple[dict[str, Any] | None, str | None]:
    """The masks that a gesture requests, for the canvas, and the info line.

    Both are None if other gestures or another picture have made it obsolete.
    """
    session.settings = settings
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
    """Canvas and info line after a control that affects every mask has changed."""
    if session is None or picture is None or session.gesture is None:
        return gr.skip(), gr.skip()
    gesture = replace(session.gesture, want=tuple(one.id for one in session.objects()))
    settings = settings_of(picture, checkpoint, smallest)
    return outputs_of(*answer(picture, session, settings, gesture, flush=True))


def outputs_of(value: Any, info: str | None) -> tuple[Any, Any]:
    """The values from `answer`, with None as "unchanged"."""
    return (gr.skip() if value is None else value), (gr.skip() if info is None else info)


def _painted(
    picture: images.Picture, session: Session, settings: Settings, one: Prompted
) -> tuple[Painted, str | None]:
    """The mask of one object for the canvas; errors go to the canvas too, since it waits."""
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
    """SAM's masks for an object, with one more `point` if given."""
    from core import segment as task

    points, box = [*one.points, *([point] if point else [])], one.box
    base = session.given.get(one.given or "")
    if base is not None and box is None:
        box = list(base.box)  # a picked mask is refined from its box
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
    """The initial mask of an object; None once prompts were added."""
    if one.given is None or one.points or one.box:
        return None
    return session.given.get(one.given)


def chosen(found: Masks, one: Prompted) -> int:
    """Index of the mask that represents the object."""
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
        f"The model's own guess: IoU {shown_iou(score)}, stability {stability:.2f}"
    )


def _note(mask: NDArray[np.bool_], score: float) -> str:
    return f"{mask.mean():.1%}, score {shown_iou(score)}"


def shown_iou(score: float) -> str:
    """A predicted IoU for display, capped at 1, since SAM can predict more."""
    return f"{min(score, 1):.2f}"


def _name(found: Masks, index: int) -> str:
    """ "A (largest)": a letter in the order shown, and the size; "" for a single mask."""
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
            f"{mask.mean():.1%} · the model's own guess {shown_iou(score)}",
        )
        for i, (mask, score, stability) in enumerate(rows)
    ]
