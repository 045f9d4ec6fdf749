"""Model cards: complete, readable on the page, and honest about a failure."""

import pytest

from core.checkpoints import CATALOGUE, ROOT, read_card
from core.sources import cards
from demos.shell import card, picker

STARTERS = [c for c in CATALOGUE if c.tier == "starter"]
FIELDS = {
    *("key", "task", "architecture", "params", "trained_on", "data_licence", "seconds"),
    *("hardware", "metric", "command"),
}


@pytest.mark.parametrize("checkpoint", STARTERS, ids=lambda c: c.key)
def test_a_card_says_what_the_starter_is(checkpoint):
    fields = read_card((ROOT / checkpoint.source).with_suffix(".md"))
    assert fields.keys() >= FIELDS
    assert fields["key"] == checkpoint.key and fields["task"] == checkpoint.task
    text = cards.text(checkpoint)
    assert "---\nkey" not in text and "![" not in text
    for word in ("Limits", "python -m training."):
        assert word in text, word


@pytest.mark.parametrize("checkpoint", STARTERS, ids=lambda c: c.key)
def test_a_card_shows_an_honest_failure(checkpoint):
    shown = dict(cards.pictures(checkpoint))
    failures = [alt for alt, path in shown.items() if path.name == f"{checkpoint.key}-failure.jpg"]
    assert failures and len(failures[0]) > 20  # words for those who do not see it
    assert sum(path.stat().st_size for path in shown.values()) < 500_000


def test_the_page_holds_the_pictures_itself():
    text, pictures = card.show("denoise-starter", "denoise")
    assert "CBSD68" in text
    assert pictures.count('src="data:image/') >= 1 and "weights/" not in pictures


def test_auto_shows_the_card_of_what_would_answer():
    assert card.show("auto", "deblur") == card.show("deblur-starter", "deblur")


@pytest.mark.parametrize("scale", [2, 4])
def test_auto_is_told_at_the_scale_that_is_asked_for(scale):
    key = f"super-resolve-x{scale}-starter"
    shown = card.show("auto", "super_resolve", scale)
    assert shown == card.show(key, "super_resolve")
    told = picker.describe("auto", "super_resolve", scale)
    assert told == picker.describe(key, "super_resolve")
    assert f"Set5 Y x{scale}" in told


def test_a_published_checkpoint_tells_its_source():
    text, pictures = card.show("sam-vit-b", "segment")
    assert "ybelkada/segment-anything" in text and "Apache-2.0" in text and not pictures


def test_an_unknown_key_is_a_sentence():
    text, _ = card.show("no-such-key", "segment")
    assert "no-such-key" in text and text.endswith(".")
