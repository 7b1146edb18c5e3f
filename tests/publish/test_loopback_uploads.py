"""The loopback Hub takes uploads as the real client sends them, without the zoo between them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from publish.conftest import TOKEN

pytestmark = pytest.mark.filterwarnings("ignore:Use .content=:DeprecationWarning")  # the client's own

FILES = {"config.json": b"{}", "model.safetensors": os.urandom(2500)}


@pytest.fixture
def api(writable, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    return huggingface_hub.HfApi(endpoint=writable.endpoint, token=TOKEN)


def operations(files):
    from huggingface_hub import CommitOperationAdd

    return [CommitOperationAdd(name, body) for name, body in files.items()]


def commit(api, files=FILES, **asked):
    return api.create_commit("user/name", operations(files), commit_message="x", **asked)


@pytest.mark.parametrize("part", [0, 1000])
def test_a_committed_file_is_downloaded_again_at_its_commit(writable, api, tmp_path, part):
    writable.part = part
    api.create_repo("user/name")
    made = commit(api)
    assert made.oid == writable.head("user/name") == api.model_info("user/name").sha
    listed = {entry.path: entry for entry in api.list_repo_tree("user/name")}
    assert listed["model.safetensors"].lfs.size == 2500
    assert listed["config.json"].lfs is None
    for name, body in FILES.items():
        path = api.hf_hub_download("user/name", name, revision=made.oid, cache_dir=tmp_path)
        assert Path(path).read_bytes() == body
    assert sum(seen.method == "PUT" for seen in writable.requests) == (3 if part else 1)


def test_what_is_stored_already_is_not_sent_again(writable, api):
    api.create_repo("user/name")
    first = commit(api)
    commit(api, {**FILES, "config.json": b"[]"})
    assert sum(seen.method == "PUT" for seen in writable.requests) == 1
    assert commit(api, {"config.json": b"[]"}).oid != first.oid
    assert writable.files("user/name", first.oid)["config.json"] == b"{}"


def test_a_commit_on_another_parent_changes_nothing(writable, api):
    from huggingface_hub.errors import HfHubHTTPError

    api.create_repo("user/name")
    parent = writable.head("user/name")
    made = commit(api)
    with pytest.raises(HfHubHTTPError, match="412"):
        commit(api, {"config.json": b"[1]"}, parent_commit=parent)
    assert writable.head("user/name") == made.oid


def test_a_pull_request_leaves_the_branch(writable, api):
    api.create_repo("user/name")
    before = writable.head("user/name")
    made = commit(api, create_pr=True)
    assert (made.pr_num, made.pr_revision) == (1, "refs/pr/1")
    assert writable.head("user/name") == before
    assert writable.files("user/name", "refs/pr/1").keys() >= FILES.keys()


def test_a_private_repo_wants_its_token_and_strangers_may_not_write(writable, api):
    import huggingface_hub

    api.create_repo("user/name", private=True)
    stranger = huggingface_hub.HfApi(endpoint=writable.endpoint, token=False)
    with pytest.raises(huggingface_hub.errors.HfHubHTTPError, match="401"):
        stranger.model_info("user/name")
    with pytest.raises(huggingface_hub.errors.HfHubHTTPError, match="403"):
        api.create_repo("other/name")
    with pytest.raises(huggingface_hub.errors.HfHubHTTPError, match="409"):
        api.create_repo("user/name")
    assert api.model_info("user/name").private


@pytest.mark.parametrize("card", ["no front", "---\na: [\n---\n", "---\nlicense: Not one\n---\n"])
def test_a_card_the_hub_would_refuse_is_refused(api, card):
    api.create_repo("user/name")
    with pytest.raises(ValueError, match="Invalid metadata in README"):
        commit(api, {"README.md": card.encode()})
