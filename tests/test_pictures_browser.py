"""Files of every name, type and kind in the picture inputs of the real page, in a real browser."""

from __future__ import annotations

import base64
import io
import json
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import images
from core.imaging.decoding import decoder
from tests import odd_files as odd
from tests.browser import page_again, page_of, tab
from tests.live import EXAMPLES

pytestmark = [pytest.mark.browser, pytest.mark.slow]
TABS = (
    (["Classify"], "classify"),
    (["Detect"], "detect"),
    (["Segment"], "segment"),
    (["Reconstruct"], "reconstruct"),
    (["Restore", "Denoise"], "denoise"),
    (["Super-resolution"], "super_resolve"),
    (["Deblur"], "deblur"),
)
# What the <img> of an input shows, as [width, height, base64 of its RGB].
SHOWN = """(selector) => {
  const image = document.querySelector(selector + " img");
  if (!image || !image.complete || !image.naturalWidth) return null;
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
  let text = "";
  for (let i = 0; i < data.length; i += 4)
    text += String.fromCharCode(data[i], data[i + 1], data[i + 2]);
  return [canvas.width, canvas.height, btoa(text)];
}"""
# A file of no type, as browsers make them of names that they do not know.
SEND = """([selector, kind, name, content]) => {
  const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name));
  const target = document.querySelector(selector);
  const options = { bubbles: true, cancelable: true };
  target.dispatchEvent(
    kind === "drop"
      ? new DragEvent("drop", { ...options, dataTransfer: transfer })
      : new ClipboardEvent("paste", { ...options, clipboardData: transfer }),
  );
}"""


def picture() -> Image.Image:
    return Image.open(EXAMPLES / "small.png").convert("RGB")


def turned() -> bytes:
    return odd.file_of(picture(), "TIFF", exif=_orientation(6), compression="tiff_lzw")


def _orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def files() -> dict[str, bytes]:
    decoder._register_heif()
    image = picture()
    jpeg = odd.file_of(image, "JPEG", quality=95)
    return {
        "IMG_0001.HEIC": odd.file_of(image, "HEIF"),
        "heic inside.jpg": odd.file_of(image, "HEIF"),
        "no suffix": jpeg,
        "UPPER.JPG": jpeg,
        "wrong.txt": odd.file_of(image, "PNG"),
        "wrong.svg": odd.file_of(image, "PNG"),
        "wrong.pdf": odd.file_of(image, "WEBP"),
        "scan.tiff": turned(),
        "new.avif": odd.file_of(image, "AVIF"),
        "umlaut ä %41 #1.heif": odd.file_of(image, "HEIF"),
        "cut.jpg": jpeg[:-2],
        "hidden.png": odd.apng(odd.blocks(), [(odd.blocks(seed=1), 0, 0)], hidden=True),
        "alpha.png": odd.file_of(Image.new("RGBA", (40, 30), (255, 0, 0, 128)), "PNG"),
    }


FILES = files()


def arrive(page, url):
    page.goto(url)
    page.get_by_role("tab", name="Classify", exact=True).wait_for()
    return page


@pytest.fixture(scope="module")
def window(browser, url):
    with page_of(browser) as opened:
        yield arrive(opened, url)


@pytest.fixture
def new_page(browser, url):
    with page_again(browser) as opened:
        yield arrive(opened, url)


@pytest.fixture
def page(window):
    """One page for all tests, with Classify open and the first example chosen, as on arrival."""
    tab(window, "Classify")
    for toast in window.locator(".toast-close").all():
        toast.click()
    window.wait_for_function("!document.querySelector('.toast-body')")
    example = "/chelsea/.test(document.querySelector('#picture img')?.src)"
    if not window.evaluate(example):
        window.locator("#picture-examples button").first.click()
    window.wait_for_function(example)
    return window


INPUT = "#picture"


def choose(page, selector: str, path: Path) -> None:
    page.locator(f"{selector} input[type=file]").first.set_input_files(path)


def shown(page, selector: str) -> np.ndarray:
    """Of the picture that was chosen, not of the example that is there on arrival."""
    page.wait_for_function(
        "s => !/chelsea|^$/.test(document.querySelector(s + ' img')?.src ?? '')",
        arg=selector,
    )
    handle = page.wait_for_function(SHOWN, arg=selector)
    width, height, content = handle.json_value()
    return np.frombuffer(base64.b64decode(content), np.uint8).reshape(height, width, 3)


def is_what_the_model_sees(found: np.ndarray, data: bytes) -> bool:
    right = np.asarray(images.decode(data))
    return found.shape == right.shape and np.abs(found.astype(int) - right).mean() < 3


@pytest.mark.parametrize("name", FILES)
def test_chosen_by_any_name_and_shown_as_decoded(page, name, tmp_path):
    path = tmp_path / name
    path.write_bytes(FILES[name])
    selector = INPUT
    choose(page, selector, path)
    assert is_what_the_model_sees(shown(page, selector), FILES[name])
    page.locator("#classify-result .bars li").first.wait_for()
    assert page.locator(".toast-body").count() == 0


def test_every_tab_takes_and_shows_heic(page, tmp_path):
    path = tmp_path / "IMG_0001.HEIC"
    path.write_bytes(FILES[path.name])
    chooser = page.locator("#picture input[type=file]").first
    assert chooser.get_attribute("accept") is None
    choose(page, INPUT, path)
    assert is_what_the_model_sees(shown(page, INPUT), FILES[path.name])
    for titles, key in TABS:
        for title in titles:
            tab(page, title)
        if key == "segment":
            page.wait_for_function(
                "document.querySelector('#segment-canvas .pp-status').innerText.includes('Ready')"
            )
        else:
            page.locator(f"#{key}-info .info").wait_for()


@pytest.mark.parametrize("name", ["IMG_0001.HEIC", "no suffix", "wrong.svg", "scan.tiff"])
@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_dropped_and_pasted_files_of_no_type(page, kind, name):
    selector = INPUT
    page.locator(f"{selector} img").first.wait_for()  # the example, onto which a file is dropped
    target = "body" if kind == "paste" else f"{selector} img"
    content = base64.b64encode(FILES[name]).decode()
    page.evaluate(SEND, [target, kind, name, content])
    assert is_what_the_model_sees(shown(page, selector), FILES[name])
    if kind == "drop":  # once more, onto the picture that is there
        page.evaluate(
            SEND,
            [
                f"{selector} img",
                kind,
                "b.heic",
                base64.b64encode(FILES["umlaut ä %41 #1.heif"]).decode(),
            ],
        )
        page.wait_for_function(
            "selector => document.querySelector(selector + ' img')?.src.includes('b.heic')",
            arg=selector,
        )
        assert is_what_the_model_sees(shown(page, selector), FILES["IMG_0001.HEIC"])


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("text.png", b"hello", "not a picture"),
        ("text", b"hello", "not a picture"),
        ("DSC_1.NEF", b"IIRO\x08\0\0\0" + bytes(200), "camera RAW"),
        ("page.svg", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not a picture"),
    ],
)
def test_what_is_no_picture_gets_our_sentence(new_page, name, content, sentence, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    page, selector = new_page, INPUT  # the same sentence again would not show
    choose(page, selector, path)
    toast = page.locator(".toast-body").first
    toast.wait_for()
    assert sentence in toast.inner_text()
    assert "Invalid file type" not in page.locator("body").inner_text()
    found = shown(page, selector)  # the sentence, drawn; no broken picture
    assert found.shape == (360, 640, 3)
    assert found.std() > 5


def test_programs_get_the_file_itself(url):
    """Only an <img> of the page gets what was decoded."""
    data, boundary = FILES["IMG_0001.HEIC"], "xyz"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="a.heic"\r\n\r\n'
    ).encode() + data
    request = urllib.request.Request(
        f"{url}gradio_api/upload",
        body + f"\r\n--{boundary}--\r\n".encode(),
        {"content-type": f"multipart/form-data; boundary={boundary}"},
    )
    path = json.load(urllib.request.urlopen(request, timeout=60))[0]
    address = f"{url}gradio_api/file={path}"
    assert urllib.request.urlopen(address, timeout=60).read() == data
    asked = urllib.request.Request(address, headers={"accept": "image/avif,image/*,*/*;q=0.8"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        assert answer.headers["content-type"] in ("image/png", "image/jpeg")
        assert "private" in answer.headers["cache-control"]
        found = np.asarray(Image.open(io.BytesIO(answer.read())))
    assert is_what_the_model_sees(found, data)
    outside = urllib.request.Request(
        f"{url}gradio_api/file={EXAMPLES.parent / 'pyproject.toml'}", headers={"accept": "image/*"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(outside, timeout=60)
    assert refused.value.code == 403
