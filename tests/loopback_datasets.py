"""A Hub of data sets on loopback, which the real `datasets` library streams from.

with DatasetHub() as hub:
    commit = hub.add("user/name", {"train.jsonl": b"..."})
    ...                  # a client with HF_ENDPOINT=hub.endpoint
    hub.asked            # ["GET /api/datasets/user/name", ...]
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

_API = re.compile(r"/api/datasets/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.+))?)?")
_RESOLVE = re.compile(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class DatasetHub:
    """Serves what was added, until the with-block ends. fail: the path of a file that is answered with status 500."""

    def __init__(self) -> None:
        self.repos: dict[str, tuple[str, dict[str, bytes]]] = {}
        self.asked: list[str] = []
        self.fail = ""

    def add(self, repo: str, files: Mapping[str, bytes]) -> str:
        """Add a data set, or change it; the commit it then has, on the branch main."""
        digest = hashlib.sha1(repr(sorted(files.items())).encode())
        self.repos[repo] = (digest.hexdigest(), dict(files))
        return digest.hexdigest()

    def __enter__(self) -> DatasetHub:
        hub = self

        class Handler(_Handler):
            state = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    state: DatasetHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.state.asked.append(f"{self.command} {self.path}")
        address = urlsplit(self.path)
        path, query = unquote(address.path), parse_qs(address.query, keep_blank_values=True)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if found := _API.fullmatch(path):
            self._api(found, query, body)
        elif found := _RESOLVE.fullmatch(path):
            self._resolve(*found.groups())
        else:
            self._answer(404)

    do_HEAD = do_POST = do_GET  # noqa: N815

    def _known(self, repo: str, revision: str | None) -> tuple[str, dict[str, bytes]] | None:
        commit, files = self.state.repos.get(repo, ("", {}))
        if not commit:
            self._answer(404, headers={"X-Error-Code": "RepoNotFound"})
        elif revision not in (None, "main", commit):
            self._answer(404, headers={"X-Error-Code": "RevisionNotFound"})
        else:
            return commit, files
        return None

    def _api(self, found: re.Match[str], query: Mapping[str, list[str]], body: bytes) -> None:
        repo, action, revision, below = found.groups()
        if (known := self._known(repo, revision)) is None:
            return
        commit, files = known
        entries = [_entry(name, content) for name, content in sorted(files.items())]
        if action == "tree":
            self._json(_below(f"{below}/" if below else "", entries, query.get("recursive") == ["true"]))
        elif action == "paths-info":
            wanted = json.loads(body)["paths"] if body.startswith(b"{") else parse_qs(body.decode())["paths"]
            self._json([entry for entry in entries if entry["path"] in wanted])
        else:
            siblings = [{"rfilename": entry["path"]} for entry in entries]
            self._json({"id": repo, "sha": commit, "siblings": siblings, "private": False, "tags": []})

    def _resolve(self, repo: str, revision: str, name: str) -> None:
        if (known := self._known(repo, revision)) is None:
            return
        commit, files = known
        if name not in files:
            self._answer(404, headers={"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        if name == self.state.fail:
            self._answer(500)
            return
        content = files[name]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{_oid(content)}"', "Accept-Ranges": "bytes"}
        if asked := _RANGE.fullmatch(self.headers.get("Range", "")):
            first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            self._answer(206, content[first : last + 1], headers)
        else:
            self._answer(200, content, headers)

    def _json(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: what was asked is in `asked`."""


def _below(folder: str, entries: list[dict[str, Any]], recursive: bool) -> list[dict[str, Any]]:
    """What a folder has: its files and folders, or all files at any depth."""
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if entry["path"].startswith(folder):
            first, _, rest = entry["path"].removeprefix(folder).partition("/")
            if rest and not recursive:
                found[folder + first] = {"type": "directory", "path": folder + first, "oid": _oid(b"")}
            else:
                found[entry["path"]] = entry
    return list(found.values())


def _oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest()


def _entry(name: str, content: bytes) -> dict[str, Any]:
    return {"type": "file", "path": name, "size": len(content), "oid": _oid(content)}


def parquet(columns: Mapping[str, Any]) -> bytes:
    """A Parquet file of columns."""
    import pyarrow
    from pyarrow import parquet as files

    written = io.BytesIO()
    files.write_table(pyarrow.table(columns), written)
    return written.getvalue()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DatasetHub]:
    """A Hub that both libraries of this process ask."""
    with DatasetHub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        import huggingface_hub.constants

        import datasets

        for module, name in (
            (datasets.config, "HF_ENDPOINT"),
            (huggingface_hub.constants, "ENDPOINT"),
            (huggingface_hub.hf_api, "ENDPOINT"),
        ):
            monkeypatch.setattr(module, name, server.endpoint, raising=False)
        url = f"{server.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", url)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf" / "datasets")
        yield server
    huggingface_hub.close_session()
