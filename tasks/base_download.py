"""Checkpoints from elsewhere, brought into a folder of weights: of a model repo on the Hub, or of an address."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from conceptry.errors import ConceptryError, TransientError
from trainer.base_weights.fetch import FetchError, Report, bring

_REPO = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?(?::(?P<file>[^:]+))?")
INDEX = "model_index.json"


@dataclass(frozen=True)
class Download:
    """A checkpoint that was brought here.

    Attributes:
        place: The file, or the folder of diffusers.
        sources: Addresses of its files, by their path below the folder of weights.
        hub: Its model repo; None where it came from elsewhere.
        license: Its licence as the Hub names it; None where it is not known.
    """

    place: Path
    sources: dict[str, list[str]] = field(default_factory=dict)
    hub: str | None = None
    license: str | None = None


def download(source: str, name: str, weights: Path, report: Report, endpoint: str | None = None) -> Download:
    """Download a checkpoint into a folder of weights; what was cut off before goes on.

    Args:
        source: An address (http, https), or a model repo of the Hub: owner/name, with @REVISION and :FILE if wanted.
        name: Name of the folder below `weights`.
        weights: Folder of weights.
        report: Called with the progress of an address.
        endpoint: Of the Hub; None for Hugging Face, or HF_ENDPOINT.

    Raises:
        ConceptryError: there is no such checkpoint; the message says what to pass.
        TransientError: it could not be downloaded.
    """
    if urlsplit(source).scheme in ("http", "https"):
        return _of_address(source, weights / name, weights, report)
    if found := _REPO.fullmatch(source):
        return _of_repo(found["repo"], found["revision"], found["file"], weights / name, weights, HfApi(endpoint))
    step = "pass one, an address (https://...), or owner/name of the Hub"
    raise ConceptryError(f"{source} is no file and no folder here", next_step=step)


def _of_address(url: str, folder: Path, weights: Path, report: Report) -> Download:
    file = PurePosixPath(unquote(urlsplit(url).path)).name
    if not file.endswith(".safetensors"):
        file = f"{folder.name}.safetensors"
    place = folder / file
    if not place.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f"{file}.partial")
        try:
            bring(url, partial, file, report, go_on=True)
        except FetchError as error:
            raise TransientError(str(error), next_step="run it again; what has come is kept") from error
        partial.replace(place)
    return Download(place, {place.relative_to(weights).as_posix(): [url]})


def _of_repo(repo: str, revision: str | None, file: str | None, folder: Path, weights: Path, api: HfApi) -> Download:
    try:
        info = api.model_info(repo, revision=revision)
        wanted = [file] if file else _choose(repo, [one.rfilename for one in info.siblings or ()])
        for path in wanted:
            api.hf_hub_download(repo, path, revision=info.sha, local_dir=folder)
    except HfHubHTTPError as error:
        step = "check the name, or sign in with `hf auth login` where the repo asks for it"
        raise ConceptryError(f"{repo} could not be read: {str(error).splitlines()[0]}", next_step=step) from error
    except OSError as error:
        raise TransientError(f"{repo} could not be downloaded: {error}", next_step="run it again") from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    below = folder.relative_to(weights).as_posix()
    addresses = {f"{below}/{path}": [f"{api.endpoint}/{repo}/resolve/{info.sha}/{path}"] for path in wanted}
    licence: Any = info.card_data.get("license") if info.card_data else None
    place = folder if INDEX in wanted else folder / wanted[0]
    return Download(place, addresses, repo, licence if isinstance(licence, str) else None)


def _choose(repo: str, names: Sequence[str]) -> list[str]:
    """Return the files of a repo to download: a folder of diffusers, or its only checkpoint.

    Raises:
        ConceptryError: it has none, or several.
    """
    from trainer.base_weights.sd_checkpoint import wanted_files

    if INDEX in names and (found := wanted_files(names)):
        return found
    single = [name for name in names if name.endswith(".safetensors") and "/" not in name]
    if len(single) == 1:
        return single
    listed = ", ".join(single[:5]) or "no .safetensors file"
    step = f"name one: {repo}:FILE" if single else "choose another repo"
    raise ConceptryError(f"{repo} has {listed}", next_step=step)
