"""One picture for all tabs: chosen once, kept, computed once for each tab, one visitor's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core import detect
from tests.browser import DESKTOP, PHONE, page_again, page_of, tab
from tests.conftest import PATIENCE, wait_for
from tests.live import EXAMPLES

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SECONDS = 1000 * PATIENCE
TABS = {
    "Classify": ("classify", "#classify-result .bars"),
    "Detect": ("detect", "#detect-result img"),
    "Segment": ("segment", "#segment-canvas .pp-canvas"),
    "Reconstruct": ("reconstruct", "#reconstruct-pasted img"),
    "Restore": ("denoise", "#denoise-result img"),
}


class Visit:
    """A visitor's page, and the events that it sends."""

    def __init__(self, page: Any, url: str, key: str = "classify") -> None:
        self.page = page
        self.joins: list[dict[str, Any]] = []
        self.streams: list[Any] = []
        page.set_default_timeout(SECONDS)
        page.on("request", self._hear)
        for event in ("requestfinished", "requestfailed"):
            page.on(event, self._ended)
        page.goto(url)
        self.answered(key, 1)
        self.joins.clear()

    def _hear(self, request: Any) -> None:
        if request.method == "POST" and "/queue/join" in request.url:
            self.joins.append(json.loads(request.post_data))
        if "/queue/data" in request.url:
            self.streams.append(request)

    def _ended(self, request: Any) -> None:
        if request in self.streams:
            self.streams.remove(request)

    def rest(self) -> None:
        """Until nothing is under way; Gradio logs an error for what a reload breaks off."""
        wait_for(lambda: self.page.wait_for_timeout(300) or not self.streams)

    def upload(self, path: Path) -> None:
        self.page.locator("#picture input[type=file]").first.set_input_files(path)

    def answered(self, key: str, turn: int) -> None:
        """Until the answer of a tab is there, of the picture of that number."""
        done = f"#{key}-said [data-turn='{turn}']:not([data-working])"
        self.page.locator(done).wait_for(state="attached")

    def pictures(self) -> int:
        return int(self.page.locator("#tray button").count())


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_one_upload_is_the_picture_of_five_tabs(
    browser: Any, url: str, viewport: dict[str, int]
) -> None:
    phone = viewport is PHONE
    with page_again(browser, viewport=viewport, touch=phone) as page:
        visit = Visit(page, url)
        visit.upload(EXAMPLES / "astronaut.jpg")
        visit.answered("classify", 2)
        if phone:
            bars = page.locator("#classify-result .bars li").first.bounding_box()
            assert bars["y"] + bars["height"] < viewport["height"], "picture and answer at once"
        assert len(visit.joins) == 1, "no other tab computes anything"
        for number, (title, (key, shown)) in enumerate(TABS.items()):
            tab(page, title)
            visit.answered(key, 2)
            page.locator(shown).first.wait_for()
            assert len(visit.joins) == number + 1, (title, "once")
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= viewport["width"] + 1, (title, "scrolls sideways")
        for title, (_, shown) in TABS.items():
            tab(page, title)
            page.locator(shown).first.wait_for()
        page.wait_for_timeout(500)  # for an event that should not come
        assert len(visit.joins) == len(TABS), "coming back computes nothing"


def test_a_tab_that_is_not_opened_computes_nothing(
    browser: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[str]()
    predict = detect.predict

    def counted(image: Any, *rest: Any) -> Any:
        seen.append(image.digest)
        return predict(image, *rest)

    monkeypatch.setattr(detect, "predict", counted)
    with page_again(browser) as page:
        visit = Visit(page, url)
        for turn, name in enumerate(("coffee.jpg", "coins.jpg", "face.jpg"), 2):
            visit.upload(EXAMPLES / name)
            visit.answered("classify", turn)
        assert seen == []
        tab(page, "Detect")
        visit.answered("detect", 4)
        assert len(set(seen)) == 1, "only the picture that is there"


def test_a_refused_picture_empties_the_answers_of_all_tabs(
    browser: Any, url: str, tmp_path: Path
) -> None:
    bad = tmp_path / "note.png"
    bad.write_bytes(b"this is no picture at all")
    with page_again(browser) as page:
        visit = Visit(page, url)
        tab(page, "Reconstruct")
        visit.answered("reconstruct", 1)
        visit.upload(bad)
        for title in ("Reconstruct", "Classify", "Segment"):
            tab(page, title)
            key, shown = TABS[title]
            alert = page.locator(f"#{key}-said [role=alert]")
            alert.wait_for()
            assert "picture" in alert.inner_text()
            assert not page.locator(shown).first.is_visible()
            assert page.locator(f"#{key}-info").inner_text().strip() == ""


def test_the_tray_goes_back_and_a_result_becomes_the_picture(browser: Any, url: str) -> None:
    with page_again(browser) as page:
        visit = Visit(page, url)
        assert not page.locator("#tray").is_visible(), "one picture needs no way back"
        tab(page, "Restore")
        visit.answered("denoise", 1)
        page.locator("#denoise-use").click()
        page.wait_for_function("document.querySelector('#picture img').src.includes('denoise')")
        visit.answered("denoise", 2)
        assert visit.pictures() == 2
        page.get_by_role("button", name="Go back to picture 1").click()
        page.wait_for_function("document.querySelector('#picture img').src.includes('chelsea')")
        visit.answered("denoise", 3)
        assert visit.pictures() == 2, "the one that one went back to is there once"
        current = page.locator("#tray [aria-current]")
        assert current.locator("img").get_attribute("alt") == "Go back to picture 1"


def test_the_address_keeps_the_tab(browser: Any, url: str) -> None:
    with page_again(browser) as page:
        visit = Visit(page, f"{url}?tab=deblur", "deblur")
        assert page.locator("#classify-said [data-turn]").count() == 0, "only the tab of the link"
        tab(page, "Detect")
        visit.answered("detect", 1)
        assert page.url.endswith("?tab=detect")
        tab(page, "Segment")
        visit.answered("segment", 1)
        page.go_back()
        page.locator("#detect-result img").wait_for()
        page.go_back()
        page.locator("#deblur-run").wait_for()
        assert page.url.endswith("?tab=deblur")
        page.go_forward()
        page.locator("#detect-result img").wait_for()
        visit.rest()
        page.reload()
        visit.answered("detect", 1)
        page.locator("#detect-result img").wait_for()


def test_a_reload_keeps_the_picture_and_the_tray(browser: Any, url: str) -> None:
    with page_of(browser) as page:
        visit = Visit(page, url)
        visit.upload(EXAMPLES / "coins.jpg")
        visit.answered("classify", 2)
        visit.rest()
        visit.joins.clear()
        page.reload()
        visit.answered("classify", 1)
        assert "coins" in page.evaluate("document.querySelector('#picture img').src")
        assert visit.pictures() == 2
        values = [value for join in visit.joins for value in join["data"]]
        pictures = [value["orig_name"] for value in values if isinstance(value, dict)]
        assert pictures == ["coins.jpg"], "the first example is not computed again"
        page.get_by_role("button", name="Go back to picture 1").click()
        visit.answered("classify", 2)
        assert "chelsea" in page.evaluate("document.querySelector('#picture img').src")


def test_a_reload_forgets_pictures_that_the_server_no_longer_has(browser: Any, url: str) -> None:
    context = browser.new_context(viewport=DESKTOP)  # the browser itself logs what is missing
    try:
        page = context.new_page()
        visit = Visit(page, url)
        visit.upload(EXAMPLES / "coins.jpg")
        visit.answered("classify", 2)
        visit.rest()
        page.route("**/coins.jpg", lambda route: route.fulfill(status=404))
        page.reload()
        visit.answered("classify", 1)
        assert "chelsea" in page.evaluate("document.querySelector('#picture img').src")
        assert not page.locator("#tray").is_visible()
    finally:
        context.close()


def test_by_keyboard_alone(browser: Any, url: str) -> None:
    with page_again(browser) as page:
        visit = Visit(page, url)
        page.get_by_role("tab", name="Classify", exact=True).focus()
        page.keyboard.press("ArrowRight")
        visit.answered("detect", 1)
        focused = "document.activeElement.innerText.trim()"
        assert page.evaluate(focused) == "Detect"
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowLeft")  # round to the last one
        visit.answered("denoise", 1)
        assert page.evaluate(focused) == "Restore"
        page.get_by_role("button", name="Example: a cup of coffee", exact=True).focus()
        page.keyboard.press("Enter")
        visit.answered("denoise", 2)


def test_two_visitors_have_their_own_pictures(browser: Any, url: str) -> None:
    with page_of(browser) as one, page_of(browser) as other:
        anna, ben = Visit(one, url), Visit(other, url)
        anna.upload(EXAMPLES / "coffee.jpg")
        ben.upload(EXAMPLES / "coins.jpg")
        anna.answered("classify", 2)
        ben.answered("classify", 2)
        shown = "document.querySelector('#picture img').src"
        assert "coffee" in one.evaluate(shown) and "coins" in other.evaluate(shown)
        assert anna.pictures() == ben.pictures() == 2
        assert "coins" not in one.locator("#tray").inner_html()
        assert "coffee" not in other.locator("#tray").inner_html()


def test_the_browser_fetches_an_address_and_the_server_does_not(browser: Any, url: str) -> None:
    content = (EXAMPLES / "coins.jpg").read_bytes()
    with page_of(browser) as page:
        visit = Visit(page, url)
        allowed = {"access-control-allow-origin": "*", "content-type": "image/jpeg"}
        page.route(
            "https://pictures.example/**",
            lambda route: route.fulfill(body=content, headers=allowed),
        )
        page.locator(".address summary").click()
        page.get_by_label("Address of a picture").fill("https://pictures.example/some/coins.jpg")
        page.keyboard.press("Enter")
        visit.answered("classify", 2)
        assert "coins" in page.evaluate("document.querySelector('#picture img').src")


def test_a_site_that_does_not_allow_it_gets_one_sentence(browser: Any, url: str) -> None:
    context = browser.new_context(viewport=DESKTOP)  # the browser itself logs the refusal
    try:
        page = context.new_page()
        visit = Visit(page, url)
        # Playwright adds the leave of the other site to answers that it makes, so there is none.
        page.route("https://pictures.example/**", lambda route: route.abort("accessdenied"))
        page.locator(".address summary").click()
        page.get_by_label("Address of a picture").fill("https://pictures.example/coins.jpg")
        page.keyboard.press("Enter")
        page.locator("#address-said").get_by_text("does not let other pages").wait_for()
        assert visit.joins == []
    finally:
        context.close()
