"""Classify: the family of the convolutional networks as a time line."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from core import images
from demos.shell import ui
from demos.shell.lesson import Endpoint, Lesson, Show, code_of

if TYPE_CHECKING:
    from core.lessons.cnn_family import Answer, Member

WIDTH, HEIGHT = 720, 300  # of the chart, in its own units
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 116, 14, 40
_LOW, _HIGH = 50.0, 85.0  # % top-1
_COSTS = (0.2e9, 32e9)  # multiply-adds


def _run(picture: images.Picture) -> tuple[str, str]:
    from core.lessons import cnn_family as lesson

    answers = lesson.look(picture)
    cards = "".join(_card(one) for one in answers)
    infos = "".join(ui.info_html(one.found.info) for one in answers if one.found is not None)
    chart = _chart([one.member for one in answers if one.member.top1])
    return f'<ol class="family" data-drawn="{len(answers)}">{cards}</ol>{chart}', infos


def _card(one: Answer) -> str:
    member = one.member
    kernels = "".join(
        f'<span class="kernel" style="width:{2 + 3 * k}px;height:{2 + 3 * k}px"></span>'
        for k in member.kernels
    )
    sides = ", ".join(f"{k} x {k}" for k in member.kernels)
    facts = (
        ("Layers", str(member.layers)),
        ("Kernels", f'<span class="kernels" aria-hidden="true">{kernels}</span>{sides}'),
        ("Parameters", _millions(member.params)),
        ("Multiply-adds", _thousand_millions(member.macs)),
        ("Published", html.escape(member.published)),
    )
    rows = "".join(f"<dt>{name}</dt><dd>{said}</dd>" for name, said in facts)
    return (
        f'<li><span class="year">{member.year}</span><h3>{html.escape(member.title)}</h3>'
        f"<p>{html.escape(member.idea)}</p><dl>{rows}</dl>{_said(one)}"
        f'<p class="about">{html.escape(member.paper)}, {member.year}.</p></li>'
    )


def _said(one: Answer) -> str:
    if one.found is None:
        return f'<p class="about">{html.escape(one.why)}</p>'
    bars = "".join(
        f'<li><span class="bar-name">{html.escape(name)}</span>'
        f'<span class="bar-track"><span class="bar-fill" style="width:{score:.2%}"></span></span>'
        f'<span class="bar-score">{score * 100:.1f} %</span></li>'
        for name, score in zip(one.found.labels, one.found.scores.tolist(), strict=True)
    )
    title = html.escape(one.member.title)
    doubt = f'<p class="about">{html.escape(one.found.doubt)}</p>' if one.found.doubt else ""
    return f'{doubt}<ol class="bars" aria-label="What {title} says">{bars}</ol>'


def _millions(count: int) -> str:
    return f"{count / 1e6:.3g} M" if count >= 1e6 else f"{count / 1e3:.3g} thousand"


def _thousand_millions(count: int) -> str:
    return f"{count / 1e9:.3g} G" if count >= 1e8 else f"{count / 1e6:.2g} M"


def _chart(members: Sequence[Member]) -> str:
    """Accuracy over multiply-adds; the area of a circle is the number of parameters."""
    parts = [_axes()]
    for one in members:
        x, y = _x(one.macs), _y(one.top1)
        radius = math.sqrt(one.params / 138e6) * 34
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="var(--color-accent)" '
            f'fill-opacity=".35" stroke="var(--color-accent)"/>'
            f'<text x="{x + radius + 5:.1f}" y="{y + 4:.1f}">{html.escape(one.title)}</text>'
        )
    label = "Accuracy over multiply-adds; the area of each circle is its number of parameters"
    return (
        '<h3 class="family-chart">Accuracy and cost</h3><div class="scroll" tabindex="0">'
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="12" '
        'fill="currentColor">'
        f'{"".join(parts)}</svg></div><p class="about">{label}.</p>'
    )


def _axes() -> str:
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    rows = "".join(
        f'<line x1="{_LEFT}" x2="{right}" y1="{_y(v):.1f}" y2="{_y(v):.1f}" '
        f'stroke="currentColor" stroke-opacity=".2"/>'
        f'<text x="{_LEFT - 6}" y="{_y(v) + 4:.1f}" text-anchor="end">{v} %</text>'
        for v in range(50, 90, 10)
    )
    columns = "".join(
        f'<text x="{_x(v * 1e9):.1f}" y="{bottom + 16}" text-anchor="middle">{v:g} G</text>'
        for v in (0.25, 1, 4, 16)
    )
    middle = (_LEFT + right) / 2
    name = f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">multiply-adds</text>'
    return rows + columns + name


def _x(macs: float) -> float:
    low, high = (math.log(v) for v in _COSTS)
    return _LEFT + (math.log(macs) - low) / (high - low) * (WIDTH - _RIGHT - _LEFT)


def _y(top1: float) -> float:
    return _TOP + (_HIGH - top1) / (_HIGH - _LOW) * (HEIGHT - _BOTTOM - _TOP)


def _code(picture: images.Picture) -> str:
    from core.lessons import cnn_family as lesson

    return code_of(lesson.look, picture.name or "picture.png", top_k=3)


def cnn_family(image: images.RGB, top_k: int = 3) -> dict[str, Any]:
    """Show the family of the convolutional networks, and what those that are ready say.

    Args:
        image: The picture.
        top_k: How many classes of each.

    Returns:
        For each network its year, layers, kernels, parameters, multiply-adds and published
        accuracy; and its classes, with a sentence of doubt where the picture probably shows none
        of those that it knows, or the reason why there are none.
    """
    from core.lessons import cnn_family as lesson

    return {"family": [_plain(one) for one in lesson.look(ui.required(image), top_k)]}


def _plain(one: Answer) -> dict[str, Any]:
    member, found = one.member, one.found
    pairs = [] if found is None else zip(found.labels, found.scores.tolist(), strict=True)
    return {
        "key": member.key,
        "title": member.title,
        "year": member.year,
        "layers": member.layers,
        "kernels": list(member.kernels),
        "params": member.params,
        "macs": member.macs,
        "top1": member.top1 or None,
        "published": member.published,
        "classes": [{"label": label, "score": round(score, 6)} for label, score in pairs],
        "why": one.why,
        "doubt": "" if found is None else found.doubt,
    }


LESSON = Lesson(
    key="cnn-family",
    title="The family of the CNNs",
    tab="classify",
    about="From LeNet-5 to EfficientNet: what each network brought, what it costs, and what it "
    "says of the picture where its weights are here.",
    run=_run,
    needs=("picture",),
    shows=(Show("html", "line"), Show("html", "facts")),
    order=70,
    code=_code,
    endpoint=Endpoint("cnn_family", cnn_family, ("image", "number"), ("json",)),
)
