"""An origin with a clone, its mirror, and a DVC remote in a folder, for the tests of images."""

import hashlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from conceptry.desired import DesiredConcept, ImageRef, parse_sources
from tasks import dvc, git

CONFIG = "[core]\n    remote = storage\n['remote \"storage\"']\n    url = {url}\n"
SPEC = "placeholder_token: <{name}>\ninitializer_token: cat\n"
PICTURES = {"a.jpg": b"first picture", "b.jpg": b"second picture", "sub/c.jpg": b"third picture"}


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(arguments, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class World:
    """An origin with a clone, a mirror of it, and a DVC remote, which is a folder."""

    root: Path
    path: str = ""
    """Folder of the repository with concepts/ and .dvc in it."""

    @property
    def clone(self) -> Path:
        return self.root / "clone"

    @property
    def mirror(self) -> git.Mirror:
        return git.Mirror(self.root / "mirror", self.path)

    @property
    def remote(self) -> Path:
        return self.root / "remote"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    def start(self, url: str | None = None) -> None:
        run(self.root, "git", "init", "--quiet", "--bare", "origin.git")
        run(self.root, "git", "clone", "--quiet", "origin.git", "clone")
        self.configure(CONFIG.format(url=url or self.remote))

    def configure(self, text: str) -> None:
        folder = self.clone / self.path / ".dvc"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config").write_text(text)

    def commit(self) -> str:
        run(self.clone, "git", "add", "--all")
        run(self.clone, "git", "commit", "--quiet", "--allow-empty", "-m", "a commit")
        run(self.clone, "git", "push", "--quiet", "origin", "HEAD")
        return git.head(git.mirror(str(self.root / "origin.git"), self.mirror.folder), "main")

    def object(self, oid: str) -> Path:
        return self.remote / "files" / "md5" / oid[:2] / oid[2:]

    def store(self, oid: str, data: bytes) -> None:
        self.object(oid).parent.mkdir(parents=True, exist_ok=True)
        self.object(oid).write_bytes(data)

    def add(self, name: str, files: Mapping[str, bytes], listing: bytes | None = None) -> str:
        """Write a concept and push its images, as DVC would; returns what images.dvc says."""
        for data in files.values():
            self.store(md5(data), data)
        if listing is None:
            entries = [{"md5": md5(data), "relpath": path} for path, data in sorted(files.items())]
            listing = json.dumps(entries).encode()
        oid = f"{md5(listing)}.dir"
        self.store(oid, listing)
        folder = self.clone / self.path / "concepts" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "concept.yaml").write_text(SPEC.format(name=name))
        outs = [{"md5": oid, "size": 1, "nfiles": len(files), "hash": "md5", "path": "images"}]
        (folder / "images.dvc").write_text(yaml.safe_dump({"outs": outs}))
        return oid

    def list(self, revision: str, check: tuple[str, ...] = ()) -> dict[str, DesiredConcept]:
        desired = parse_sources(git.read_concepts(self.mirror, revision))
        return dvc.list_images(self.mirror, revision, desired, self.cache, check=check)

    def fetch(self, oid: str, images: tuple[ImageRef, ...] | None = None) -> dict[str, bytes]:
        folder = dvc.fetch_images(
            self.mirror, "main", oid, images, destination=self.root / "run" / "images", concept="cat"
        )
        assert [path.name for path in folder.parent.iterdir()] == ["images"], "no temporary folder is left"
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refs(files: Mapping[str, bytes]) -> tuple[ImageRef, ...]:
    return tuple(ImageRef(path, md5(data)) for path, data in sorted(files.items()))
