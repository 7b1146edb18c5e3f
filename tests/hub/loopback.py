"""A Hub on loopback that the real huggingface_hub client accepts, with a switch for each thing that can go wrong.

    with LoopbackHub() as hub:
        commit = hub.add_repo("user/name", {"config.json": b"{}"})
        hub.fault("config.json", Fault(status=500), times=1)
        ...                                    # a client with HF_ENDPOINT=hub.endpoint
        assert hub.gets("config.json") == 1    # what it asked for

A client with a token may also create repos and commit to them; what it committed is then served like the rest.
Run as a script it serves each FOLDER/user/name as a repo: python tests/hub/loopback.py FOLDER [PORT]
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_CHUNK = 1 << 20
_RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_API = re.compile(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?")
_WRITE = re.compile(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/([^/]+)")
_BATCH = re.compile(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch")
_STORE = re.compile(r"/lfs/upload/([0-9a-f]{64})(?:/(\d+))?")

Content = bytes | Path


@dataclass(frozen=True)
class Seen:
    """A request as it came. headers: by lower-case name."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Fault:
    """What goes wrong with the answer to a request; the unset parts stay right.

    status, headers: of the answer; a header that is None is left out. change: of the body. cut_after: bytes of the
    body after which the connection is dropped; reset: dropped with a TCP reset. announce: a Content-Length that is
    not the body's. delay: seconds before the answer. pause: seconds after each `_CHUNK` of the body.
    methods: of the requests it concerns. take: bytes of the request's body after which the connection is dropped,
    before anything is done. A POST or PUT that gets another status does nothing either; one whose answer is cut by
    cut_after is done.
    """

    status: int = 0
    headers: Mapping[str, str | None] = field(default_factory=dict)
    change: Callable[[bytes], bytes] | None = None
    cut_after: int | None = None
    reset: bool = False
    announce: int | None = None
    delay: float = 0.0
    pause: float = 0.0
    methods: tuple[str, ...] = ("HEAD", "GET")
    take: int | None = None


@dataclass
class _Repo:
    references: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, Content]] = field(default_factory=dict)
    token: str = ""  # that a request must bring, "" for a public repo
    gated: bool = False


class LoopbackHub:
    """The server. `requests` is what was asked, `endpoint` is for HF_ENDPOINT.

    page: entries of a page of a listing. ranges: whether Range is honoured. cdn: where the bytes of large files are
    redirected to, such as another LoopbackHub's endpoint; "" to send them from here. namespace: whose repos may be
    written, by whoever brings a token. part: bytes of one part of a large upload, 0 for all in one.
    """

    def __init__(self, port: int = 0) -> None:
        self.requests: list[Seen] = []
        self.page = 1000
        self.ranges = True
        self.cdn = ""
        self.namespace = "user"
        self.part = 0
        self.extra_entries: list[dict[str, object]] = []  # put before the real ones into every listing
        self._repos: dict[str, _Repo] = {}
        self._large: dict[str, Content] = {}  # by sha256
        self._parts: dict[str, dict[int, bytes]] = {}  # of uploads, by sha256 and number
        self._faults: list[tuple[re.Pattern[str], Fault, list[int]]] = []
        self._hashes: dict[Path, tuple[str, str]] = {}
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> LoopbackHub:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def add_repo(
        self,
        name: str,
        files: Mapping[str, Content],
        *,
        revision: str = "main",
        token: str = "",
        gated: bool = False,
    ) -> str:
        """Add a commit to a repo and let the revision name it. The commit depends on names and bytes alone."""
        digest = hashlib.sha1(usedforsecurity=False)
        for path, content in sorted(files.items()):
            digest.update(f"{path}\0{self.hashes(content)[0]}\0".encode(errors="surrogateescape"))
        commit = digest.hexdigest()
        repo = self._repos.setdefault(name, _Repo())
        repo.references[revision] = commit
        repo.commits[commit] = dict(files)
        repo.token, repo.gated = token, gated
        self._large.update({self.hashes(content)[0]: content for content in files.values()})
        return commit

    def files(self, name: str, revision: str = "main") -> dict[str, bytes]:
        """What a repo holds at a branch or commit."""
        repo = self._repos[name]
        content = repo.commits[repo.references.get(revision, revision)]
        return {path: body.read_bytes() if isinstance(body, Path) else body for path, body in content.items()}

    def head(self, name: str, revision: str = "main") -> str:
        """The commit that a branch names; "" when there is no such repo."""
        return self._repos[name].references[revision] if name in self._repos else ""

    def is_private(self, name: str) -> bool:
        return bool(self._repos[name].token)

    def fault(self, path: str, fault: Fault, times: int = 1_000_000) -> None:
        """Let requests whose path matches the regular expression go wrong, for the first `times` of them."""
        self._faults.append((re.compile(path), fault, [times]))

    def heal(self) -> None:
        """Forget all faults."""
        self._faults.clear()

    def gets(self, name: str) -> int:
        """How many GET requests for that file came."""
        return sum(seen.method == "GET" and seen.path.endswith(f"/{name}") for seen in self.requests)

    def hashes(self, content: Content) -> tuple[str, str]:
        """The sha256, and the sha1 that git names the content by."""
        if isinstance(content, Path) and content in self._hashes:
            return self._hashes[content]
        body = content.read_bytes() if isinstance(content, Path) else content
        git = hashlib.sha1(f"blob {len(body)}\0".encode() + body, usedforsecurity=False)
        found = hashlib.sha256(body).hexdigest(), git.hexdigest()
        if isinstance(content, Path):
            self._hashes[content] = found
        return found

    def take_fault(self, method: str, path: str) -> Fault:
        with self._lock:
            for pattern, fault, left in self._faults:
                if left[0] > 0 and method in fault.methods and pattern.search(path):
                    left[0] -= 1
                    return fault
        return Fault()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(
            sys.exc_info()[1], ConnectionError
        ):  # clients that go away are what the tests are about
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@dataclass
class _Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: Content = b""


def is_large(name: str) -> bool:
    """Whether the Hub keeps the file in large file storage, where the sha256 is its name."""
    return name.endswith((".safetensors", ".bin", ".gguf"))


def _answer(hub: LoopbackHub, path: str, query: str, token: str) -> _Answer:
    found = re.fullmatch(r"/lfs/([0-9a-f]{64})", path)
    if found and found[1] in hub._large:
        return _Answer(200, {"ETag": '"storage-1"'}, hub._large[found[1]])
    if found := _RESOLVE.fullmatch(path):
        return _resolve(hub, found[1], unquote(found[2]), unquote(found[3]), token)
    if found := _API.fullmatch(path):
        return _api(hub, found[1], found[2] or "revision", unquote(found[3] or "main"), query, token)
    return _Answer(404)


def _write(hub: LoopbackHub, method: str, path: str, query: str, token: str, body: bytes) -> _Answer:
    """The answer to a POST or PUT, which changes what is held here."""
    if found := _STORE.fullmatch(path):  # like a signed address of a storage: it takes no token
        return _store(hub, found[1], int(found[2] or 0), body, method)
    if not token:
        return _error(401, "", "Invalid username or password.")
    said: Any = {} if path.partition("/commit/")[1] else json.loads(body)
    if path == "/api/repos/create":
        return _create(hub, said, token)
    if path == "/api/validate-yaml":
        return _validate(said["content"])
    if path == "/lfs/verify":
        present = said["oid"] in hub._large and _size(hub._large[said["oid"]]) == said["size"]
        return _json({}) if present else _error(404, "", "Object is not here")
    found = _WRITE.fullmatch(path) or _BATCH.fullmatch(path)
    if not found:
        return _Answer(404)
    at = _find(hub, found[1], unquote(found[3]) if found.re is _WRITE else "main", token)
    if isinstance(at, _Answer):
        return at
    if not found[1].startswith(f"{hub.namespace}/"):
        return _error(403, "", "You don't have the rights to write there")
    if found.re is _BATCH:
        return _json({"transfer": "basic", "objects": [_upload(hub, one) for one in said["objects"]]})
    if found[2] == "preupload":
        return _json({"files": [_mode(hub, one["path"], at[1]) for one in said["files"]]})
    with hub._lock:
        lines = [json.loads(line) for line in body.splitlines()]
        return _commit(hub, found[1], unquote(found[3]), lines, pull_request="create_pr=1" in query)


def _create(hub: LoopbackHub, said: dict[str, str], token: str) -> _Answer:
    name = f"{said['organization']}/{said['name']}"
    if said["organization"] != hub.namespace:
        return _error(403, "", f"You don't have the rights to create a model under {said['organization']}")
    if name in hub._repos:
        return _error(409, "", "You already created this model repo")
    hub.add_repo(name, {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"})
    hub._repos[name].token = token if said.get("visibility") == "private" else ""
    return _json({"url": f"{hub.endpoint}/{name}", "name": name})


def _validate(card: str) -> _Answer:
    """What the Hub asks of a README.md: a mapping in front, whose license is an identifier it knows."""
    import yaml

    found = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    try:
        said = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError as error:
        said, problem = None, str(error)
    else:
        problem = "there is no YAML in front"
    if isinstance(said, dict):
        licence = str(said.get("license"))
        problem = "" if re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", licence) else f'"license" is {licence!r}'
    if not problem:
        return _json({"errors": [], "warnings": []})
    return _Answer(
        400,
        {"X-Error-Message": problem.splitlines()[0]},
        json.dumps({"errors": [{"message": problem}]}).encode(),
    )


def _mode(hub: LoopbackHub, path: str, files: Mapping[str, Content]) -> dict[str, object]:
    sha256, git_sha1 = hub.hashes(files[path]) if path in files else (None, None)
    mode, oid = ("lfs", sha256) if is_large(path) else ("regular", git_sha1)
    return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid}


def _upload(hub: LoopbackHub, wanted: dict[str, Any]) -> dict[str, object]:
    """Where a large file is to be sent; no actions for one that is here."""
    oid, size = wanted["oid"], wanted["size"]
    if oid in hub._large:
        return {"oid": oid, "size": size}
    address = f"{hub.endpoint}/lfs/upload/{oid}"
    upload: dict[str, object] = {"href": address}
    if hub.part and size > hub.part:
        numbers = range(1, -(-size // hub.part) + 1)
        parts = {str(number): f"{address}/{number}" for number in numbers}
        upload["header"] = {"chunk_size": str(hub.part), **parts}
    verify = {"href": f"{hub.endpoint}/lfs/verify"}
    return {"oid": oid, "size": size, "actions": {"upload": upload, "verify": verify}}


def _store(hub: LoopbackHub, oid: str, number: int, body: bytes, method: str) -> _Answer:
    """A large file, one part of it, or (POST) the word that all parts are here."""
    if number:
        hub._parts.setdefault(oid, {})[number] = body
        return _Answer(200, {"ETag": f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'})
    if method == "POST":
        parts = hub._parts.pop(oid, {})
        body = b"".join(part for _, part in sorted(parts.items()))
    if hashlib.sha256(body).hexdigest() != oid:
        return _error(400, "", "The bytes are not those of the object")
    hub._large[oid] = body
    return _Answer(200)


def _commit(
    hub: LoopbackHub, name: str, revision: str, lines: list[dict[str, Any]], *, pull_request: bool
) -> _Answer:
    """All of the operations, or none of them."""
    repo = hub._repos[name]
    head = repo.references[revision]
    parent = lines[0]["value"].get("parentCommit", head)
    if parent != head and not pull_request:
        return _error(412, "", "A commit has happened since. Please refresh and try again.")
    files = dict(repo.commits[parent])
    for line in lines[1:]:
        said = line["value"]
        if line["key"] == "file":
            files[said["path"]] = base64.b64decode(said["content"])
        elif line["key"] == "lfsFile" and said["oid"] in hub._large:
            files[said["path"]] = hub._large[said["oid"]]
        elif line["key"] == "deletedFile" and said["path"] in files:
            del files[said["path"]]
        else:
            return _error(400, "", f"cannot do {line['key']} of {said['path']}")
    content = "".join(f"{path}\0{hub.hashes(body)[0]}\0" for path, body in sorted(files.items()))
    commit = hashlib.sha1(f"{parent}\0{content}".encode(), usedforsecurity=False).hexdigest()
    repo.commits[commit] = files
    repo.references["refs/pr/1" if pull_request else revision] = commit
    said = {"success": True, "commitOid": commit, "commitUrl": f"{hub.endpoint}/{name}/commit/{commit}"}
    return _json(said | ({"pullRequestUrl": f"{hub.endpoint}/{name}/discussions/1"} if pull_request else {}))


def _find(hub: LoopbackHub, name: str, revision: str, token: str) -> tuple[str, dict[str, Content]] | _Answer:
    repo = hub._repos.get(name)
    if repo is None:
        return _error(404, "RepoNotFound", "Repository not found")
    if repo.token and token != repo.token:
        return _error(401, "", "Invalid username or password.")
    if repo.gated:
        return _error(403, "GatedRepo", f"Access to model {name} is restricted.")
    commit = repo.references.get(revision, revision)
    if commit not in repo.commits:
        return _error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    return commit, repo.commits[commit]


def _error(status: int, code: str, message: str) -> _Answer:
    headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
    return _Answer(status, headers, json.dumps({"error": message}).encode())


def _resolve(hub: LoopbackHub, name: str, revision: str, file: str, token: str) -> _Answer:
    found = _find(hub, name, revision, token)
    if isinstance(found, _Answer):
        return found
    commit, files = found
    if file not in files:
        return _error(404, "EntryNotFound", "Entry not found")
    content = files[file]
    sha256, git_sha1 = hub.hashes(content)
    headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
    if not is_large(file):
        return _Answer(200, headers | {"ETag": f'"{git_sha1}"'}, content)
    headers |= {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(_size(content))}
    if hub.cdn:
        return _Answer(302, headers | {"Location": f"{hub.cdn}/lfs/{sha256}"})
    return _Answer(200, headers | {"ETag": f'"{sha256}"'}, content)


def _api(hub: LoopbackHub, name: str, kind: str, revision: str, query: str, token: str) -> _Answer:
    found = _find(hub, name, revision, token)
    if isinstance(found, _Answer):
        return found
    commit, files = found
    if kind == "revision":
        siblings = [{"rfilename": file} for file in files]
        private = bool(hub._repos[name].token)
        return _json({"id": name, "sha": commit, "private": private, "siblings": siblings})
    entries = [*hub.extra_entries, *(_entry(hub, file, content) for file, content in sorted(files.items()))]
    start = int(parse_qs(query).get("cursor", ["0"])[0])
    answer = _json(entries[start : start + hub.page])
    if start + hub.page < len(entries):
        address = f"{hub.endpoint}/api/models/{name}/tree/{revision}?cursor={start + hub.page}"
        answer.headers["Link"] = f'<{address}>; rel="next"'
    return answer


def _entry(hub: LoopbackHub, file: str, content: Content) -> dict[str, object]:
    sha256, git_sha1 = hub.hashes(content)
    entry: dict[str, object] = {"type": "file", "oid": git_sha1, "size": _size(content), "path": file}
    if is_large(file):
        entry["lfs"] = {"oid": sha256, "size": _size(content), "pointerSize": 134}
    return entry


def _json(value: object) -> _Answer:
    return _Answer(200, {"Content-Type": "application/json"}, json.dumps(value).encode())


def _size(content: Content) -> int:
    return content.stat().st_size if isinstance(content, Path) else len(content)


def _handler(hub: LoopbackHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # headers and body are two writes

        def do_HEAD(self) -> None:
            self._serve()

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def do_PUT(self) -> None:
            self._serve()

        def _serve(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            hub.requests.append(Seen(self.command, self.path, headers))
            parts = urlsplit(self.path)
            token = headers.get("authorization", "").removeprefix("Bearer ")
            fault = hub.take_fault(self.command, self.path)
            length = int(headers.get("content-length", "0"))
            if fault.take is not None:
                self.rfile.read(min(length, fault.take))
                self._reset()
                return
            sent = self.rfile.read(length)
            time.sleep(fault.delay)
            if fault.status:
                answer = _Answer(fault.status, {}, b"")
            elif self.command in ("POST", "PUT"):
                answer = _write(hub, self.command, parts.path, parts.query, token, sent)
            else:
                answer = _answer(hub, parts.path, parts.query, token)
            if fault.change and not fault.status:
                body = answer.body.read_bytes() if isinstance(answer.body, Path) else answer.body
                answer.body = fault.change(body)
            self._send(answer, fault, headers.get("range", ""))

        def _send(self, answer: _Answer, fault: Fault, asked: str) -> None:
            size, start = _size(answer.body), 0
            asked_from = re.fullmatch(r"bytes=(\d+)-", asked)
            if hub.ranges and answer.status == 200 and asked_from:
                start = int(asked_from[1])
                answer.status = 206 if start < size else 416
                answer.headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
            answer.headers["Content-Length"] = str(
                max(0, size - start) if fault.announce is None else fault.announce
            )
            if fault.announce is not None:
                answer.headers["Connection"] = "close"
            self.send_response_only(answer.status)
            for name, value in ({**answer.headers, **fault.headers}).items():
                if value is not None:
                    self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD" and answer.status != 416:
                with contextlib.suppress(ConnectionError):
                    self._send_body(answer.body, start, fault)
            if fault.announce is not None:
                self.close_connection = True

        def _send_body(self, body: Content, start: int, fault: Fault) -> None:
            left = _size(body) - start
            left = left if fault.cut_after is None else min(left, fault.cut_after)
            with body.open("rb") if isinstance(body, Path) else contextlib.nullcontext() as source:
                if source:
                    source.seek(start)
                while left > 0:
                    count = min(_CHUNK, left)
                    piece = source.read(count) if source else body[start : start + count]
                    self.wfile.write(piece)
                    start, left = start + count, left - count
                    time.sleep(fault.pause)
            if fault.cut_after is not None:
                if fault.reset:
                    time.sleep(0.3)  # a reset throws away what the other side has not read
                    self._reset()
                self.close_connection = True

        def _reset(self) -> None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            os.close(self.connection.detach())  # the server's own way of closing says goodbye first
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
            pass

    return Handler


def serve_folder(folder: Path, port: int = 0) -> LoopbackHub:
    """A hub, not yet started, with each folder/user/name as a repo; files are read when asked for."""
    hub = LoopbackHub(port)
    for repo in sorted(path for path in folder.glob("*/*") if path.is_dir()):
        files = {
            path.relative_to(repo).as_posix(): path for path in sorted(repo.rglob("*")) if path.is_file()
        }
        hub.add_repo(repo.relative_to(folder).as_posix(), files)
    return hub


if __name__ == "__main__":
    with serve_folder(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0) as running:
        print(f"HF_ENDPOINT={running.endpoint}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
