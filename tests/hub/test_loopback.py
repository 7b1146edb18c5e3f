"""The loopback Hub is one the real client accepts, without the zoo between them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FILES = {"config.json": b"{}", "model.safetensors": os.urandom(1000), "sub/vocab.json": b"[]"}


@pytest.fixture
def client(hub):
    import huggingface_hub

    return huggingface_hub


def test_the_client_downloads_lists_and_resolves(hub, client, tmp_path):
    commit = hub.add_repo("user/name", FILES)
    api = client.HfApi(endpoint=hub.endpoint)
    assert api.model_info("user/name").sha == commit
    assert {entry.path for entry in api.list_repo_tree("user/name", recursive=True)} == set(FILES)
    folder = Path(api.snapshot_download("user/name", cache_dir=tmp_path / "cache"))
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES


def test_the_client_knows_the_errors(hub, client):
    hub.add_repo("user/name", FILES)
    hub.add_repo("user/gated", FILES, gated=True)
    api = client.HfApi(endpoint=hub.endpoint)
    with pytest.raises(client.errors.RepositoryNotFoundError):
        api.model_info("user/other")
    with pytest.raises(client.errors.RevisionNotFoundError):
        api.model_info("user/name", revision="v2")
    with pytest.raises(client.errors.RemoteEntryNotFoundError):
        api.hf_hub_download("user/name", "absent.json")
    with pytest.raises(client.errors.GatedRepoError):
        api.model_info("user/gated")


def test_a_folder_of_repos_is_served_by_the_script(hub, client, tmp_path):
    for name, body in FILES.items():
        path = tmp_path / "served" / "user" / "name" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    script = Path(__file__).with_name("loopback.py")
    command = [sys.executable, str(script), str(tmp_path / "served")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        endpoint = process.stdout.readline().strip().removeprefix("HF_ENDPOINT=")
        try:
            api = client.HfApi(endpoint=endpoint)
            folder = Path(api.snapshot_download("user/name", cache_dir=tmp_path / "cache"))
        finally:
            process.terminate()
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
