"""Read `data:` addresses as browsers do. Source: WHATWG Fetch, "data: URL processor"; WHATWG Infra,
"forgiving-base64 decode"; WHATWG URL, "URL parsing".
"""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from core.errors import BadImage
from core.imaging.decoding.limits import MAX_BYTES

_C0_AND_SPACE = "".join(map(chr, range(0x21)))
_REMOVED = str.maketrans("", "", "\t\n\r")  # by URL parsers, anywhere in the text
_BASE64 = re.compile(r"; *base64\Z", re.IGNORECASE)
_WHITE = b"\t\n\f\r "
_ALPHABET = re.compile(rb"[A-Za-z0-9+/]*\Z")


def is_data_url(text: str) -> bool:
    """Whether the text starts like a `data:` URL."""
    return text[:64].lstrip(_C0_AND_SPACE).translate(_REMOVED)[:5].lower() == "data:"


def content(url: str) -> bytes:
    """The content of a `data:` URL, at most 25 MB.

    The media type is ignored; the content decides the format.

    Raises:
        BadImage: not a `data:` URL, invalid base64, or too large.
    """
    if len(url) > 5 * MAX_BYTES:  # base64 with every character percent-encoded
        raise _too_large()
    text = url.strip(_C0_AND_SPACE).translate(_REMOVED)
    text = text.partition("#")[0]
    head, comma, body = text.partition(",")
    if head[:5].lower() != "data:" or not comma:
        raise BadImage(
            "The data: URL is not complete; please send one like data:image/png;base64,…"
        )
    data = unquote_to_bytes(body)
    if _BASE64.search(head[5:].strip("\t\n\f\r ")):
        data = _forgiving(data)
    if len(data) > MAX_BYTES:
        raise _too_large()
    return data


def _forgiving(text: bytes) -> bytes:
    """Base64 with white space anywhere, with or without padding."""
    text = text.translate(None, _WHITE)
    if len(text) > MAX_BYTES * 4 // 3 + 4:  # refuse before decoding
        raise _too_large()
    if len(text) % 4 == 0:
        text = text.removesuffix(b"=").removesuffix(b"=")
    if len(text) % 4 == 1 or not _ALPHABET.match(text):
        raise BadImage("The data: URL is not valid base64; please send the file again.")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4))
    except binascii.Error as error:
        raise BadImage("The data: URL is not valid base64; please send the file again.") from error


def _too_large() -> BadImage:
    return BadImage(
        f"The picture is larger than {MAX_BYTES // 2**20} MB; please shrink it, or save it as a "
        "JPEG."
    )
