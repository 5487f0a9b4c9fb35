"""Output of DVC that holds a concept's images: of images.dvc, or of a stage in dvc.yaml.

`dvc add`, `dvc import` and `dvc import-url` write images.dvc; the stages of a pipeline are in dvc.yaml, and the md5 of
their outputs in the dvc.lock beside it.

Source: https://dvc.org/doc/user-guide/project-structure/dvc-files and .../dvcyaml-files
"""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conceptry.errors import Problem, SpecError
from conceptry.yaml_spec import load_yaml

LOCK = "dvc.lock"
_DIR = re.compile(r"[0-9a-f]{32}\.dir")
# What `dvc add` of a folder writes; anything else is read as YAML.
_ADDED = re.compile(
    r"outs:\n- md5: ([0-9a-f]{32}\.dir)\n(?:  size: [0-9]+\n)?(?:  nfiles: [0-9]+\n)?  hash: md5\n  path: images\n"
)


@dataclass(frozen=True)
class DvcOutput:
    """Folder that DVC tracks.

    Attributes:
        md5: md5 of its listing, with the suffix `.dir`.
        remote: Name of the remote that `remote:` of the output names; None for the default remote.
        origin: Address of the repository that `dvc import` took it from, which `dvc push` leaves out; None for others.
    """

    md5: str
    remote: str | None = None
    origin: str | None = None


def read_dvc_file(text: str | None, path: str) -> DvcOutput:
    """Return the folder that an images.dvc tracks.

    Raises:
        SpecError: the file is missing, or does not track one folder.
    """
    if text is None:
        folder = path.removesuffix(".dvc")
        raise SpecError([Problem(None, "", f"is missing; run `dvc add {folder}` and commit it")], path)
    if as_dvc_writes := _ADDED.fullmatch(text):
        return DvcOutput(as_dvc_writes[1])
    document = load_yaml(text, path)
    outs = document.get("outs") if isinstance(document, dict) else None
    out = outs[0] if isinstance(outs, list) and len(outs) == 1 else None
    dep = _import(document)
    repo = dep.get("repo") if dep is not None else None
    address = repo.get("url") if isinstance(repo, Mapping) else None
    found = _output(out, address if isinstance(address, str) else None)
    if found is None:
        raise SpecError([Problem(None, "outs", _what_is_wrong(out, dep, path))], path)
    return found


def read_lock(text: str, path: str, folder: str) -> DvcOutput | None:
    """Return the output of a stage that is a folder, by a dvc.lock; None if no stage makes it.

    Args:
        text: Content of the dvc.lock.
        path: Path of the dvc.lock in the repository, relative to which its stages name their outputs.
        folder: Path of the folder in the repository.

    Raises:
        SpecError: the file is not valid YAML.
    """
    if posixpath.basename(folder) not in text:
        return None
    document = load_yaml(text, path)
    stages = document.get("stages") if isinstance(document, dict) else None
    for stage in stages.values() if isinstance(stages, dict) else ():
        for out in (stage.get("outs") if isinstance(stage, dict) else None) or ():
            named = out.get("path") if isinstance(out, dict) else None
            if isinstance(named, str) and posixpath.normpath(posixpath.join(posixpath.dirname(path), named)) == folder:
                return _output(out, None)
    return None


def _output(out: Any, origin: str | None) -> DvcOutput | None:
    if not isinstance(out, Mapping):
        return None
    md5, remote = out.get("md5"), out.get("remote")
    if not isinstance(md5, str) or not _DIR.fullmatch(md5):
        return None
    return DvcOutput(md5, remote if isinstance(remote, str) and remote else None, origin)


def _import(document: Any) -> Mapping[Any, Any] | None:
    """Return the source of `dvc import` or `dvc import-url`; None for a folder that was added."""
    deps = document.get("deps") if isinstance(document, Mapping) else None
    return deps[0] if isinstance(deps, list) and deps and isinstance(deps[0], Mapping) else None


def _what_is_wrong(out: Any, dep: Mapping[Any, Any] | None, path: str) -> str:
    """Return why an output is no folder whose listing is in a remote, and what to do."""
    folder = path.removesuffix(".dvc")
    own = f"`rm {path} && dvc add {folder}`, commit both and run `dvc push`"
    if isinstance(out, Mapping) and "files" in out:
        return (
            f"is from a cloud-versioned remote, which Conceptry does not read; `dvc pull`, choose a plain remote, {own}"
        )
    if isinstance(out, Mapping) and "md5" not in out and dep is not None:
        then = "commit it and run `dvc push`" if "repo" not in dep else f"then {own}"
        return f"was imported without its data (--no-download); run `dvc update {path}`, {then}"
    if isinstance(out, Mapping) and isinstance(out.get("md5"), str):
        return "tracks a single file, not a folder of images; `dvc add` the folder"
    return f"does not track one folder of images; make it again with `dvc add {folder}`"
