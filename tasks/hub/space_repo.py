"""Push of a rendered Space to the Hub with hardware, visibility and secret; pause and restart of a Space."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, SpaceRuntime
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.hf_api import RepoFile, SpaceInfo
from pydantic import SecretStr

from conceptry.concept import ConceptSpec
from conceptry.errors import ConceptryError, HubError
from conceptry.markdown import dump_front_matter, split_front_matter
from conceptry.space_settings import hardware
from tasks.hub.client import translate_errors
from tasks.hub.file_record import README, RECORD, FileHashes, dump_record, load_record, without_record
from tasks.hub.live_state import PAUSED
from tasks.hub.ownership import GITATTRIBUTES, KEY, OWNER
from tasks.hub.session import HubSession
from tasks.hub.space_access import entrust, hidden_by_us, make_private, show

FREE_HARDWARE = "cpu-basic"
_RUNS_NO_SPACES = (404, 501)


@dataclass(frozen=True)
class RenderedSpace:
    """Rendered Space that is to be pushed.

    Attributes:
        folder: Folder of the rendered files.
        release: Name of the served version.
        revision: Commit of that version in the model repo.
        serving: Serving fingerprint that it was rendered from.
        installation: Id of the installation whose Space it is.
    """

    folder: Path
    release: str
    revision: str
    serving: str
    installation: str = ""

    def files(self, *, stamped: bool = True) -> dict[str, bytes | Path]:
        """Return all files to push: the rendered ones, a record of them, and the stamp in README.md.

        The stamp names the release, the record's sha256 and, if `stamped`, the serving fingerprint. Drift is found by
        the record, so a later release of Conceptry may render other files.
        """
        files = self.unrecorded_files(stamped=stamped)
        record = dump_record(files)
        stamp = {**self._stamp(stamped=stamped), "files": hashlib.sha256(record).hexdigest()}
        return {**files, RECORD: record, README: self._readme(stamp)}

    def unrecorded_files(self, *, stamped: bool = True) -> dict[str, bytes | Path]:
        """Return the files that releases of Conceptry without records pushed."""
        found: dict[str, bytes | Path] = {
            path.relative_to(self.folder).as_posix(): path for path in sorted(self.folder.rglob("*")) if path.is_file()
        }
        return {**found, README: self._readme(self._stamp(stamped=stamped))}

    def _stamp(self, *, stamped: bool) -> dict[str, str | None]:
        owner = {OWNER: self.installation} if self.installation else {}
        serving = self.serving if stamped else None
        return {"release": self.release, "revision": self.revision, "serving": serving, **owner}

    def _readme(self, stamp: dict[str, str | None]) -> bytes:
        return _stamp((self.folder / README).read_text(encoding="utf-8"), stamp).encode()


def push_space(
    session: HubSession, name: str, space: RenderedSpace, spec: ConceptSpec, *, token: SecretStr | None
) -> str:
    """Push a rendered Space in one commit, and set hardware, visibility and secret of concept.yaml.

    If hardware, visibility or secret cannot be set, the files are pushed without the stamp, so that the Space serves
    the release and the next plan repairs it.

    Args:
        session: Session with the Hub.
        name: Name of the concept.
        space: The rendered Space.
        spec: Spec of the concept.
        token: Token with which a private Space reads its model, stored as the Space's secret HF_TOKEN.

    Returns:
        Address of the Space.

    Raises:
        HubError: the Hub refused, or Conceptry did not create the Space of this name.
        TransientError: the network or the Hub failed; a retry resumes.
    """
    target = session.target
    error: ConceptryError | None = None
    with translate_errors(target, "pushing its Space", name=name):
        info = session.space(name)
        if info is None:
            session.create_repo(name, "space", private=spec.space.private)
            info = session.space(name)
        if info is None or info.sha is None:
            raise HubError(f"the Space {target.repo(name)} has no commit", concept=name, next_step="delete that Space")
        before = session.files(name, info.sha, "space")
        session.prove(name, "space")
        try:
            with translate_errors(target, "giving its Space hardware", name=name):
                equip_space(session, name, info, spec, token=token)
        except ConceptryError as failed:
            error = failed
        files = space.files(stamped=error is None)
        session.commit(
            name,
            f"Serve {space.release}",
            [
                *(CommitOperationAdd(path, file) for path, file in files.items()),
                *(CommitOperationDelete(path) for path in sorted(before - set(files) - {GITATTRIBUTES})),
            ],
            kind="space",
        )
        _run(session, name, info.runtime, run=True)
    if error is not None:
        raise error
    return f"{target.endpoint}/spaces/{target.repo(name)}"


def pause_space(session: HubSession, name: str) -> None:
    """Pause a concept's Space and set its stamp to no release, for a concept that serves no version.

    It is paused first: if that was interrupted, the stamp still says that there is something to take down.

    Raises:
        HubError, TransientError: as `push_space`.
    """
    with translate_errors(session.target, "pausing its Space", name=name):
        info = session.space(name)
        if info is None or info.sha is None:
            return
        before = session.files(name, info.sha, "space")
        session.prove(name, "space")
        _run(session, name, info.runtime, run=False)
        content = session.read(name, README, info.sha, "space") if README in before else None
        owner = {OWNER: session.target.installation} if session.target.installation else {}
        readme = _stamp((content or b"").decode("utf-8", "replace"), {"release": None, **owner})
        session.commit(
            name, "Serve nothing", [CommitOperationAdd(README, readme.encode())], kind="space", parent=info.sha
        )


def edited_files(session: HubSession, name: str, sha: str, recorded: str) -> tuple[str, ...]:
    """Return the files of a concept's Space that differ from those that were pushed: changed, missing or added.

    Args:
        session: Session with the Hub.
        name: Name of the concept.
        sha: Commit of the Space to compare.
        recorded: sha256 of the record of the pushed files, from the Space's stamp.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    with translate_errors(session.target, "comparing its Space", name=name):
        found = _tree(session, name, sha)
        record = load_record(session.read(name, RECORD, sha, "space"), recorded)
        readme = session.read(name, README, sha, "space")
    if record is None:
        return (RECORD,)
    expected = record.files
    edited = {
        path
        for path in (found.keys() | expected.keys()) - {README, RECORD}
        if path not in found or path not in expected or not expected[path].match(found[path])
    }
    # The record holds the hash of README.md without the record's own hash.
    if expected.get(README) != FileHashes.of(without_record((readme or b"").decode("utf-8", "replace"))):
        edited.add(README)
    return tuple(sorted(edited))


def differing_files(session: HubSession, name: str, sha: str, expected: Mapping[str, bytes | Path]) -> tuple[str, ...]:
    """Return the expected files that a concept's Space lacks or has with other bytes; other files are not compared.

    Args:
        session: Session with the Hub.
        name: Name of the concept.
        sha: Commit of the Space to compare.
        expected: Files by path.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    with translate_errors(session.target, "comparing its Space", name=name):
        found = _tree(session, name, sha)
    contents = ((path, one if isinstance(one, bytes) else one.read_bytes()) for path, one in sorted(expected.items()))
    return tuple(
        path for path, content in contents if path not in found or not FileHashes.of(content).match(found[path])
    )


def _tree(session: HubSession, name: str, sha: str) -> dict[str, RepoFile]:
    tree = session.api.list_repo_tree(session.target.repo(name), recursive=True, revision=sha, repo_type="space")
    return {entry.path: entry for entry in tree if isinstance(entry, RepoFile) and entry.path != GITATTRIBUTES}


def equip_space(
    session: HubSession, name: str, info: SpaceInfo, spec: ConceptSpec, *, token: SecretStr | None
) -> list[str]:
    """Set the visibility, hardware and sleep time of a Space as in concept.yaml, and a private one's token.

    Args:
        session: Session with the Hub.
        name: Name of the concept.
        info: The Hub's info on the Space.
        spec: Spec of the concept.
        token: Token with which a private Space reads its model. It may read only: the Space runs code of
            `space.override`. None takes away one that Conceptry gave it; a secret that the user added stays.

    Returns:
        The changes, in words.

    Raises:
        HfHubHTTPError: the Hub refused, for instance because the account cannot pay for the hardware.
    """
    api, repo = session.api, session.target.repo(name)
    changed = make_private(session, name) if spec.space.private else []
    if info.runtime is None:  # a Hub that runs no Spaces
        return changed
    # A Space that the user made private manually has no mark of Conceptry and stays private.
    if info.private and not spec.space.private and hidden_by_us(session, name):
        changed += show(session, name)
    expected, sleep = hardware(spec), spec.space.sleep_minutes * 60
    # The free hardware has a fixed sleep time.
    rented = expected != FREE_HARDWARE
    if (info.runtime.requested_hardware or FREE_HARDWARE) != expected:
        api.request_space_hardware(repo, expected, sleep_time=sleep if rented else None)  # type: ignore[arg-type]
        changed.append(f"hardware {expected}")
    elif rented and info.runtime.sleep_time != sleep:
        api.set_space_sleep_time(repo, sleep)
        changed.append(f"sleeps after {spec.space.sleep_minutes} minutes")
    if spec.space.private:
        changed += entrust(session, name, token)
    return changed


def _stamp(readme: str, stamp: dict[str, str | None]) -> str:
    data, text = split_front_matter(readme)
    return dump_front_matter({**data, KEY: stamp}) + text


def _run(session: HubSession, name: str, runtime: SpaceRuntime | None, *, run: bool) -> None:
    """Pause a running Space or restart a paused one, as `run` says; do nothing on a Hub that runs no Spaces."""
    if runtime is None or run != (runtime.stage in PAUSED):
        return
    repo = session.target.repo(name)
    try:
        if run:
            session.api.restart_space(repo)
        else:
            session.api.pause_space(repo)
    except HfHubHTTPError as error:
        if error.response.status_code not in _RUNS_NO_SPACES:
            raise
