"""A small server that speaks the part of the model hub's protocol that uploads a Space.

It creates repositories, says which files are stored as large ones, takes those by PUT (the LFS way)
or names a folder as their store (the Xet way, `hf_xet` has such a store built in), and applies
commits.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".safetensors", ".jpg", ".png", ".npz", ".heic", ".tif")  # binary, so never plain git


@dataclass
class Spaces:
    """What was created and committed, and the large files by their SHA-256."""

    url: str = ""
    made: dict[str, dict[str, Any]] = field(default_factory=dict)  # what create was told
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    store: str = ""  # folder for the Xet way
    requests: list[tuple[str, str]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    refuses: bool = False  # the token


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    spaces: Spaces

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def say(self, content: Any, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_one(self) -> None:
        path = urlsplit(self.path).path
        self.spaces.requests.append((self.command, path))
        body = self.body()
        if token := self.headers.get("Authorization"):
            self.spaces.tokens.add(token)
        if self.spaces.refuses:
            return self.say({"error": "Invalid username or password."}, 401)
        for method, pattern, answer in ROUTES:
            if method == self.command and (found := re.fullmatch(pattern, path)):
                return answer(self, body, *found.groups())
        self.send_response(404)
        self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = do_PUT = do_HEAD = handle_one

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        if name in self.spaces.made:
            return self.say({"url": f"{self.spaces.url}/spaces/{name}"}, 409)
        self.spaces.made[name], self.spaces.files[name] = asked, {}
        self.say({"url": f"{self.spaces.url}/spaces/{name}", "name": name})

    def who(self, _: bytes) -> None:
        self.say({"name": "me", "type": "user", "orgs": []})

    def valid(self, _: bytes) -> None:
        self.say({"errors": [], "warnings": []})

    def about(self, _: bytes, name: str) -> None:
        files = [{"rfilename": path} for path in self.spaces.files[name]]
        self.say({"id": name, "sha": COMMIT, "siblings": files})

    def tree(self, _: bytes, name: str) -> None:
        files = self.spaces.files[name].items()
        self.say([{"type": "file", "path": p, "size": len(f), "oid": COMMIT} for p, f in files])

    def before(self, body: bytes, name: str) -> None:
        asked = json.loads(body)["files"]
        self.say({"files": [{"path": f["path"], "shouldIgnore": False, **_mode(f)} for f in asked]})

    def batch(self, body: bytes, name: str) -> None:
        def where(oid: str) -> dict[str, Any]:
            return {"upload": {"href": f"{self.spaces.url}/large/{oid}", "header": {}}}

        asked = json.loads(body)["objects"]
        objects = [{**one, "actions": where(one["oid"])} for one in asked]
        self.say({"transfer": "basic", "objects": objects})

    def token(self, _: bytes, name: str) -> None:
        store = f"local://{self.spaces.store}"
        self.say({"casUrl": store, "accessToken": "none", "exp": int(time.time()) + 3600})

    def put(self, body: bytes, oid: str) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.spaces.large[oid] = body
        self.say({})

    def commit(self, body: bytes, name: str) -> None:
        files = self.spaces.files[name]
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.spaces.large.get(value["oid"]) or value["oid"].encode()
            elif entry["key"] == "deletedFile":
                files.pop(value["path"], None)
        self.say(
            {"commitUrl": f"{self.spaces.url}/spaces/{name}/commit/{COMMIT}", "commitOid": COMMIT}
        )


def digest(content: bytes) -> bytes:
    """What this server keeps of a file that came the Xet way."""
    return hashlib.sha256(content).hexdigest().encode()


def _mode(asked: dict[str, Any]) -> dict[str, str]:
    return {"uploadMode": "lfs" if asked["path"].endswith(LARGE) else "regular"}


NAME = r"/(?:api/)?spaces/([^/]+/[^/]+)"
ROUTES = (
    ("POST", "/api/repos/create", Handler.create),
    ("GET", "/api/whoami-v2", Handler.who),
    ("POST", "/api/validate-yaml", Handler.valid),
    ("GET", f"{NAME}(?:/revision/main)?", Handler.about),
    ("GET", f"{NAME}/tree/main", Handler.tree),
    ("POST", f"{NAME}/preupload/main", Handler.before),
    ("POST", rf"{NAME}\.git/info/lfs/objects/batch", Handler.batch),
    ("GET", f"{NAME}/xet-write-token/main", Handler.token),
    ("PUT", "/large/([0-9a-f]{64})", Handler.put),
    ("POST", f"{NAME}/commit/main", Handler.commit),
)


@contextmanager
def serve() -> Iterator[Spaces]:
    """A hub for Spaces on a free local port."""
    spaces = Spaces()
    handler = type("Bound", (Handler,), {"spaces": spaces})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    spaces.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield spaces
    finally:
        server.shutdown()
        server.server_close()
