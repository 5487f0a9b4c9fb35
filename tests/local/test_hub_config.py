"""The local Hub, started by this project, shows what this project publishes."""

import re
from pathlib import Path

import httpx2
from huggingface_hub import CommitOperationAdd, HfApi

from emulators.hub.config import HubConfig
from emulators.hub.server import running
from local.hub_config import HUB_CONFIG, hub_arguments

CARD = b"---\nconceptry:\n  versions:\n  - {number: 1, gate: rejected}\n  - {number: 2, gate: passed}\n---\n# cat\n"


def test_versions_have_verdicts_grids_and_manifests(tmp_path: Path) -> None:
    assert hub_arguments(tmp_path, "127.0.0.1", 4280)[-2:] == ["--config", str(HUB_CONFIG)]
    with running(tmp_path, config=HubConfig.load(HUB_CONFIG)) as hub:
        assert "Published concepts appear here." in httpx2.get(hub.url).text
        api = HfApi(endpoint=hub.url, token="hf_local")
        api.create_repo("local/cat")
        for number in (1, 2):
            manifest = f'{{"spec": {{"steps": {number}}}}}'.encode()
            files = {"README.md": CARD, "concept.json": manifest, "samples/grid.png": b"\x89PNG" + bytes([number])}
            operations = [CommitOperationAdd(path, data) for path, data in files.items()]
            api.create_commit("local/cat", operations, commit_message=f"v{number}")
            api.create_branch("local/cat", branch=f"v{number}")
        page = httpx2.get(f"{hub.url}/local/cat").text
        compared = httpx2.get(f"{hub.url}/local/cat/compare").text
    assert page.index('pill passed">passed') < page.index('pill rejected">rejected')
    assert len(re.findall(r"<img [^>]*/samples/grid\.png", compared)) == 2
    assert "+100.0%" in compared
