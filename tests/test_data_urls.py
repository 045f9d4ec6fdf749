"""`data:` addresses: what a browser reads is read, what it refuses gets a sentence."""

from __future__ import annotations

import base64

import pytest

from core.errors import BadImage
from core.imaging.decoding import data_urls
from tests.browser import chromium, page_of

CONTENT = bytes(range(256)) + b"pictures!"
TEXT = base64.b64encode(CONTENT).decode()
assert "+" in TEXT
assert "/" in TEXT
AS_PERCENT = "".join(f"%{byte:02x}" for byte in CONTENT)
READ = {
    "plain": f"data:image/png;base64,{TEXT}",
    "no padding": f"data:image/png;base64,{TEXT.rstrip('=')}",
    "white space": "data:image/png;base64," + "\n ".join(TEXT[i : i + 7] for i in range(0, 360, 7)),
    "tabs, returns, form feeds": f"data:image/png;base64,\t{TEXT[:9]}\r\n\f{TEXT[9:]}%0A%20",
    "space around": f"  \n\0data:image/png;base64,{TEXT}\x1f ",
    "newlines in the scheme": f"da\nta:image/png;ba\tse64,{TEXT}",
    "upper case": f"DATA:IMAGE/PNG;BASE64,{TEXT}",
    "mixed case": f"dAtA:image/png;Base64,{TEXT}",
    "percent signs": "data:image/png;base64," + TEXT.replace("+", "%2B").replace("/", "%2f"),
    "all percent signs": "data:;base64," + "".join(f"%{ord(c):X}" for c in TEXT),
    "no media type": f"data:;base64,{TEXT}",
    "parameters": f"data:image/png;name=a.png;charset=utf-8;base64,{TEXT}",
    "spaces before base64": f"data:image/png;   base64,{TEXT}",
    "spaces at the ends": f"data: image/png;base64 ,{TEXT}",
    "a fragment": f"data:image/png;base64,{TEXT}#page=1,2",
    "not base64": f"data:application/octet-stream,{AS_PERCENT}",
    "base64 is not last": f"data:image/png;base64;x=1,{AS_PERCENT}",
    "base64 without a semicolon": f"data:base64,{AS_PERCENT}",
}
REFUSED = {
    "no comma": "data:image/png;base64",
    "another scheme": "http://localhost/a.png",
    "url-safe": f"data:image/png;base64,{TEXT.replace('+', '-').replace('/', '_')}",
    "padding within": f"data:image/png;base64,{TEXT[:4]}=={TEXT[4:]}",
    "too much padding": f"data:image/png;base64,{TEXT.rstrip('=')}===",
    "one sign too many": "data:image/png;base64,AAAAA",
    "half a percent sign": "data:image/png;base64,AAA%3",
    "other signs": "data:image/png;base64,AA*A",
    "not latin": "data:image/png;base64,AAAÄ",
}


@pytest.mark.parametrize("name", READ)
def test_read(name: str) -> None:
    assert data_urls.is_data_url(READ[name])
    assert data_urls.content(READ[name]) == CONTENT


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    with pytest.raises(BadImage, match="please send"):
        data_urls.content(REFUSED[name])


def test_what_is_no_data_url() -> None:
    for text in ("", "data", "http://a/data:", "/tmp/data:x", "xdata:,"):
        assert not data_urls.is_data_url(text)


def test_large_ones() -> None:
    for url in ("data:;base64," + "A" * 35_000_000, "data:," + "a" * 27_000_000):
        with pytest.raises(BadImage, match="25 MB"):
            data_urls.content(url)


@pytest.mark.browser
def test_as_chromium_does() -> None:
    """The lists above are what a browser does, not what we think that it does."""
    fetched = """async (url) => {
      try { return [...new Uint8Array(await (await fetch(url)).arrayBuffer())]; }
      catch { return null; }
    }"""
    with chromium() as browser, page_of(browser) as page:
        page.goto("about:blank")
        for name, url in READ.items():
            assert bytes(page.evaluate(fetched, url)) == CONTENT, name
    with chromium() as browser:  # which writes errors to its console
        page = browser.new_page()
        page.goto("about:blank")
        for name, url in REFUSED.items():
            assert url.startswith("http:") or page.evaluate(fetched, url) is None, name
