"""A small server that speaks the model hub's protocol, with faults that a test can switch on.

It holds files per repository and answers HEAD and GET of `/{repo}/resolve/{revision}/{file}` (with
ETag, commit, length and ranges) and GET of `/api/models/{repo}`. Every request is recorded.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
API = re.compile(r"/api/models/([^/]+/[^/]+)(/revision/(.+))?")

STATUS_FAULTS = {
    "404": (404, "RepoNotFound"),
    "401": (401, ""),
    "403": (403, ""),
    "gated": (403, "GatedRepo"),
    "bad-revision": (404, "RevisionNotFound"),
    "bad-file": (404, "EntryNotFound"),
    "500": (500, ""),
    "429": (429, ""),
}


@dataclass
class Hub:
    """What the server holds and what was asked of it."""

    url: str = ""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)  # repo -> name -> content
    faults: dict[str, str] = field(default_factory=dict)  # repo (or "*") -> name of the fault
    requests: list[tuple[str, str]] = field(default_factory=list)  # (method, path)
    tokens: list[str] = field(default_factory=list)  # of the requests that had one
    ranges: list[int] = field(default_factory=list)  # first bytes of the parts asked for
    cuts: int = 0
    closing: threading.Event = field(default_factory=threading.Event)
    poured: threading.Event = field(default_factory=threading.Event)  # ends the fault "drip"

    def put(self, repo: str, name: str, content: bytes) -> str:
        """Add a file; returns its SHA-256, which is also its ETag."""
        self.files.setdefault(repo, {})[name] = content
        return hashlib.sha256(content).hexdigest()

    def downloads(self, name: str) -> int:
        """How many GET requests asked for that file."""
        return sum(m == "GET" and path.endswith(name) for m, path in self.requests)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        self.hub.requests.append((self.command, self.path))
        if token := self.headers.get("Authorization"):
            self.hub.tokens.append(token)
        resolve, api = RESOLVE.fullmatch(self.path), API.fullmatch(self.path)
        repo = (resolve or api).group(1) if resolve or api else "*"
        fault = self.hub.faults.get(repo) or self.hub.faults.get("*", "")
        if fault == "silent":
            self.hub.closing.wait(120)
            self.close_connection = True
        elif fault in STATUS_FAULTS:
            self.refuse(*STATUS_FAULTS[fault])
        elif fault == "wait" and body:  # only the download itself is told to come back later
            self.send(429, b"", {"Retry-After": "60"}, False)
        elif fault == "proxy" and resolve:
            self.send(200, b"<html>Sign in to this network</html>", {}, body)
        elif api:
            self.send(200, json.dumps({"id": repo, "sha": COMMIT}).encode(), {}, body)
        elif resolve:
            self.file(*resolve.groups(), fault, body)
        else:
            self.send(200, b"hub", {}, body)

    def refuse(self, status: int, code: str) -> None:
        self.send(status, b"", {"X-Error-Code": code} if code else {}, False)

    def send(self, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def file(self, repo: str, revision: str, name: str, fault: str, body: bool) -> None:
        content = self.hub.files.get(repo, {}).get(name)
        if content is None:
            return self.refuse(404, "EntryNotFound" if repo in self.hub.files else "RepoNotFound")
        etag = hashlib.sha256(content).hexdigest()
        if fault == "flipped":
            content = content[:-1] + bytes([content[-1] ^ 1])
        start = int((re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) or [0, 0])[1])
        part = content[start:]
        if body and start:
            self.hub.ranges.append(start)
        headers = {
            "ETag": f'"{etag}"',
            "X-Repo-Commit": revision if re.fullmatch(r"[0-9a-f]{40}", revision) else COMMIT,
            "Accept-Ranges": "bytes",
        }
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if not body or fault not in ("cut-once", "cut-always", "stall", "slow", "drip"):
            return self.send(206 if start else 200, part, headers, body)
        self.partly(206 if start else 200, part, headers, fault)

    def partly(self, status: int, part: bytes, headers: dict[str, str], fault: str) -> None:
        """Announce the whole, send some of it, and then cut, stall or dawdle."""
        self.hub.cuts += 1
        self.send(status, part, headers, False)
        if fault == "cut-once" and self.hub.cuts > 1:
            self.wfile.write(part)
            return
        if fault == "drip":
            sent = 0
            while sent < len(part) and not self.hub.poured.wait(0.1):
                self.wfile.write(part[sent : sent + 1])
                self.wfile.flush()
                sent += 1
            self.wfile.write(part[sent:])
            return
        if fault == "slow":
            for i in range(0, len(part), 1 + len(part) // 4):
                self.wfile.write(part[i : i + 1 + len(part) // 4])
                time.sleep(0.1)
            return
        if self.hub.cuts == 1:
            self.wfile.write(part[: len(part) // 2])
            self.wfile.flush()
        if fault == "stall":
            self.hub.closing.wait(120)
        self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is part of these tests."""


@contextmanager
def serve() -> Iterator[Hub]:
    """A hub on a free local port."""
    hub = Hub()
    server = Server(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.closing.set()
        hub.poured.set()
        server.shutdown()
        server.server_close()
