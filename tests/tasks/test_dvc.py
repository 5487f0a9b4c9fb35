"""Images from a DVC remote: what DVC itself pushed, and what a damaged or hostile remote holds."""

import hashlib
import http.server
import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from cli.checkout_files import read_checkout
from conceptry.desired import DesiredConcept, ImageRef, parse_sources
from conceptry.errors import ConceptryError, DataCorruptError, DataMissingError, SettingsError, TransientError
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

    @property
    def clone(self) -> Path:
        return self.root / "clone"

    @property
    def mirror(self) -> Path:
        return self.root / "mirror"

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
        (self.clone / ".dvc").mkdir(exist_ok=True)
        (self.clone / ".dvc/config").write_text(text)

    def commit(self) -> str:
        run(self.clone, "git", "add", "--all")
        run(self.clone, "git", "commit", "--quiet", "--allow-empty", "-m", "a commit")
        run(self.clone, "git", "push", "--quiet", "origin", "HEAD")
        git.mirror(str(self.root / "origin.git"), self.mirror)
        return git.head(self.mirror, "main")

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
        folder = self.clone / "concepts" / name
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


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.start()
    return world


def refs(files: Mapping[str, bytes]) -> tuple[ImageRef, ...]:
    return tuple(ImageRef(path, md5(data)) for path, data in sorted(files.items()))


def test_what_dvc_adds_and_pushes_is_listed_and_fetched(world: World) -> None:
    # The one test that runs DVC itself; the others lay out the remote as it does.
    Repo.init(str(world.clone), force=True).close()
    world.configure(CONFIG.format(url=world.remote))
    folder = world.clone / "concepts" / "cat"
    for path, data in PICTURES.items():
        (folder / "images" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "images" / path).write_bytes(data)
    (folder / "concept.yaml").write_text(SPEC.format(name="cat"))
    assert dvc.add_images(world.clone, folder / "images") == folder / "images.dvc"
    revision = world.commit()

    forgotten = world.list(revision)["cat"]
    assert forgotten.error is None
    assert forgotten.images is None

    with Repo(str(world.clone)) as repo:
        assert repo.push() == len(PICTURES) + 1
    concept = world.list(revision, check=("cat",))["cat"]
    assert concept.images == refs(PICTURES)
    assert concept.missing == ()
    assert concept.dvc_md5 is not None
    assert world.fetch(concept.dvc_md5, concept.images) == PICTURES


def test_dvc_add_says_why_it_refuses(world: World) -> None:
    (world.clone / "images").mkdir()
    with pytest.raises(ConceptryError, match=r"images: `dvc add` failed: .*not inside of a DVC repo"):
        dvc.add_images(world.root, world.clone / "images")


def test_every_concept_gets_its_images(world: World) -> None:
    world.add("cat", PICTURES)
    world.add("dog", {"d.jpg": b"dog", ".DS_Store": b"junk", "d.txt": b"a dog"})
    (world.clone / "concepts/bad").mkdir()
    (world.clone / "concepts/bad/concept.yaml").write_text("nonsense: 1\n")

    concepts = world.list(world.commit())

    assert concepts["cat"].images == refs(PICTURES)
    assert concepts["dog"].images == refs({"d.jpg": b"dog", "d.txt": b"a dog"})
    assert concepts["bad"].error is not None


def test_a_remote_that_fails_for_one_listing_blocks_one_concept(world: World) -> None:
    oid = world.add("cat", PICTURES)
    world.add("dog", {"d.jpg": b"dog"})
    revision = world.commit()
    world.object(oid).unlink()
    world.object(oid).mkdir()

    concepts = world.list(revision, check=("cat", "dog"))

    assert concepts["dog"].images == refs({"d.jpg": b"dog"})
    assert concepts["dog"].missing_images() is None
    reason, words = concepts["cat"].missing_images() or (None, "")
    assert (reason, "directory" in words) == ("RemoteUnreachable", True)


def test_a_listing_is_read_from_the_remote_once(world: World) -> None:
    world.add("cat", PICTURES)
    revision = world.commit()
    first = world.list(revision)
    world.remote.rename(world.root / "gone")

    assert world.list(revision) == first


def test_a_listing_damaged_in_the_cache_is_read_again(world: World) -> None:
    world.add("cat", PICTURES)
    revision = world.commit()
    first = world.list(revision)
    (cached,) = (path for path in world.cache.rglob("*") if path.is_file())
    cached.write_bytes(b"[]")

    assert world.list(revision) == first


def test_files_that_were_not_pushed_are_missing_only_when_asked_for(world: World) -> None:
    world.add("cat", PICTURES)
    revision = world.commit()
    world.object(md5(PICTURES["b.jpg"])).unlink()

    assert world.list(revision)["cat"].missing == ()
    assert world.list(revision, check=("cat",))["cat"].missing == refs({"b.jpg": PICTURES["b.jpg"]})

    world.store(md5(PICTURES["b.jpg"]), PICTURES["b.jpg"])
    assert world.list(revision, check=("cat",))["cat"].missing == ()


def test_fetching_what_was_not_pushed_names_it_and_leaves_nothing(world: World) -> None:
    oid = world.add("cat", PICTURES)
    world.commit()
    world.object(md5(PICTURES["b.jpg"])).unlink()

    with pytest.raises(DataMissingError, match=r"cat: 1 of 3 files .*b\.jpg.*dvc push") as caught:
        world.fetch(oid, refs(PICTURES))
    assert not caught.value.retryable
    assert list((world.root / "run").iterdir()) == []


def test_fetching_without_the_listing_says_dvc_push(world: World) -> None:
    oid = world.add("cat", PICTURES)
    world.commit()
    world.object(oid).unlink()

    with pytest.raises(DataMissingError, match=r"list of its images .*dvc push"):
        world.fetch(oid, refs(PICTURES))


@pytest.mark.parametrize("damage", [b"second pictura", b"second", b""])
def test_a_corrupt_object_is_named(world: World, damage: bytes) -> None:
    oid = world.add("cat", PICTURES)
    world.commit()
    world.object(md5(PICTURES["b.jpg"])).write_bytes(damage)

    with pytest.raises(DataCorruptError, match=r"cat: 1 of 3 files .*b\.jpg"):
        world.fetch(oid, refs(PICTURES))
    assert list((world.root / "run").iterdir()) == []
    assert world.object(md5(PICTURES["b.jpg"])).exists(), "evidence is not deleted"


def test_a_shortened_listing_holds_that_concept_only(world: World) -> None:
    oid = world.add("cat", PICTURES)
    world.add("dog", {"d.jpg": b"dog"})
    revision = world.commit()
    entries = json.loads(world.object(oid).read_bytes())
    world.object(oid).write_text(json.dumps(entries[:1]))

    concepts = world.list(revision)

    assert isinstance(concepts["cat"].error, DataCorruptError)
    assert "concepts/cat/images.dvc" in str(concepts["cat"].error)
    assert concepts["dog"].error is None
    with pytest.raises(DataCorruptError, match="damaged"):
        world.fetch(oid)


@pytest.mark.parametrize(
    "paths",
    [
        ["../evil"], ["/etc/evil"], ["a/../../evil"], ["a//b"], ["./a"], [""], ["a\\..\\b"], ["C:evil"], ["a\nb"],
        ["a", "a"], ["a", "a/b"],
    ],
)  # fmt: skip
def test_a_hostile_listing_writes_nothing(world: World, paths: list[str]) -> None:
    picture = PICTURES["a.jpg"]
    listing = json.dumps([{"md5": md5(picture), "relpath": path} for path in paths]).encode()
    oid = world.add("cat", {"x": picture}, listing)
    revision = world.commit()

    assert isinstance(world.list(revision)["cat"].error, DataCorruptError)
    before = sorted(world.root.rglob("*"))
    with pytest.raises(DataCorruptError, match="not one that DVC wrote"):
        world.fetch(oid)
    assert [path for path in sorted(world.root.rglob("*")) if path.name == "evil"] == []
    assert set(world.root.rglob("*")) - set(before) <= {world.root / "run"}


@pytest.mark.parametrize("listing", [b"", b"{}", b"null", b'[{"relpath": "a"}]', b'["a"]', b"\xff"])
def test_an_object_that_is_no_listing_is_refused(world: World, listing: bytes) -> None:
    oid = world.add("cat", {}, listing)
    world.commit()
    if listing == b"{}":
        assert world.fetch(oid) == {}
        return
    with pytest.raises(DataCorruptError):
        world.fetch(oid)


def test_a_whole_folder_is_left_alone_and_a_damaged_one_replaced(world: World) -> None:
    oid = world.add("cat", PICTURES)
    world.commit()
    world.fetch(oid, refs(PICTURES))
    world.remote.rename(world.root / "away")
    assert world.fetch(oid, refs(PICTURES)) == PICTURES

    (world.root / "away").rename(world.remote)
    (world.root / "run/images/a.jpg").write_bytes(b"edited")
    (world.root / "run/images/stranger.jpg").write_bytes(b"not in the listing")
    assert world.fetch(oid, refs(PICTURES)) == PICTURES


def test_two_at_once_end_in_one_whole_folder(world: World) -> None:
    oid = world.add("cat", {f"{number}.jpg": b"%d" % number * 1000 for number in range(40)})
    world.commit()
    folder, errors = world.root / "run" / "images", []

    def fetch() -> None:
        try:
            dvc.fetch_images(world.mirror, "main", oid, None, destination=folder)
        except Exception as error:  # noqa: BLE001 - a thread's error would be lost
            errors.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert len(list(folder.iterdir())) == 40
    assert [path.name for path in folder.parent.iterdir()] == ["images"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, r"\.dvc/config: is not in git"),
        ("", "no default remote"),
        ("[core]\n    remote = nowhere\n", "nowhere"),
        ("[core\n", r"\.dvc/config at"),
        ("[core]\n    remote = s\n['remote \"s\"']\n    url = ../relative\n", "relative path as its url"),
        ("[core]\n    remote = s\n['remote \"s\"']\n    url = s3://b\n", "dvc-s3"),
    ],
)
def test_an_unusable_remote_is_explained(world: World, config: str | None, message: str) -> None:
    world.add("cat", PICTURES)
    if config is None:
        (world.clone / ".dvc/config").unlink()
    else:
        world.configure(config)
    with pytest.raises(SettingsError, match=message):
        world.list(world.commit())


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[tuple[str, list[int]]]:
    """A remote over HTTP that answers with the statuses in a list, then from its folder."""
    statuses: list[int] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "remote"))  # type: ignore[arg-type]

        def send_head(self) -> object:  # type: ignore[override]
            if statuses:
                self.send_error(statuses.pop(0))
                return None
            return super().send_head()

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", statuses
        server.shutdown()
        thread.join()


def test_a_remote_over_the_network_gives_the_same(tmp_path: Path, storage: tuple[str, list[int]]) -> None:
    world = World(tmp_path)
    world.start(storage[0])
    oid = world.add("cat", PICTURES)
    revision = world.commit()
    world.object(md5(PICTURES["b.jpg"])).rename(tmp_path / "kept")

    concept = world.list(revision, check=("cat",))["cat"]
    assert concept.images == refs(PICTURES)
    assert concept.missing == refs({"b.jpg": PICTURES["b.jpg"]})

    (tmp_path / "kept").rename(world.object(md5(PICTURES["b.jpg"])))
    assert world.fetch(oid, concept.images) == PICTURES


def test_a_remote_that_is_down_may_come_back(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.start("http://127.0.0.1:9")
    world.add("cat", PICTURES)
    with pytest.raises(TransientError, match="'storage' cannot be reached"):
        world.list(world.commit())


@pytest.mark.parametrize(("status", "kind"), [(403, SettingsError), (401, SettingsError), (404, None)])
def test_a_refusal_is_not_an_outage(
    tmp_path: Path, storage: tuple[str, list[int]], status: int, kind: type[ConceptryError] | None
) -> None:
    world = World(tmp_path)
    world.start(storage[0])
    world.add("cat", PICTURES)
    revision = world.commit()
    storage[1].extend([status] * 10)
    if kind is None:
        assert world.list(revision)["cat"].images is None
    else:
        with pytest.raises(kind, match="credentials"):
            world.list(revision)


def test_what_dvc_2_pushed_is_found_beside_what_dvc_3_pushes(world: World) -> None:
    """DVC 2 has no files/md5 in the path, and takes the md5 of a text with Unix line ends."""
    caption = b"a photo\r\nof a cat\r\n"
    files = {"0.jpg": b"new", "1.jpg": b"old"}
    entries = [{"md5": md5(data), "relpath": path} for path, data in files.items()]
    entries.append({"md5": md5(caption.replace(b"\r\n", b"\n")), "relpath": "1.txt"})
    listing = json.dumps(entries).encode()
    world.configure(CONFIG.format(url=world.remote))
    oid = world.add("cat", {"0.jpg": b"new"}, listing)
    for key, data in ((entries[1]["md5"], b"old"), (entries[2]["md5"], caption), (oid, listing)):
        place = world.remote / key[:2] / key[2:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    world.object(oid).unlink()
    outs = [{"md5": oid, "size": 1, "nfiles": 3, "path": "images"}]
    (world.clone / "concepts" / "cat" / "images.dvc").write_text(yaml.safe_dump({"outs": outs}))

    concept = world.list(world.commit(), check=("cat",))["cat"]
    assert (concept.error, concept.missing) == (None, ())
    assert world.fetch(oid, concept.images) == files | {"1.txt": caption}


def test_an_output_may_name_its_remote(world: World) -> None:
    config = CONFIG.format(url=world.root / "empty") + f"['remote \"others\"']\n    url = {world.remote}\n"
    world.configure(config)
    oid = world.add("cat", PICTURES)
    images_dvc = world.clone / "concepts" / "cat" / "images.dvc"
    document = yaml.safe_load(images_dvc.read_text())
    document["outs"][0]["remote"] = "others"
    images_dvc.write_text(yaml.safe_dump(document))
    world.add("dog", {})
    concepts = world.list(world.commit(), check=("cat", "dog"))
    assert (concepts["cat"].images, concepts["cat"].missing) == (refs(PICTURES), ())
    assert concepts["dog"].images is None, "it is in the default remote, which is empty"
    folder = dvc.fetch_images(
        world.mirror, "main", oid, None, destination=world.root / "run" / "images", remote_name="others"
    )
    assert {path.name for path in folder.iterdir()} == {Path(name).parts[0] for name in PICTURES}


def test_imported_images_that_are_nowhere_get_advice_that_helps(world: World) -> None:
    world.configure(CONFIG.format(url=world.remote))
    oid = world.add("cat", PICTURES)
    world.object(oid).unlink()
    images_dvc = world.clone / "concepts" / "cat" / "images.dvc"
    repo = {"url": "https://ann:secret@git.example.org/registry.git", "rev_lock": "0" * 40}
    document = yaml.safe_load(images_dvc.read_text()) | {"deps": [{"path": "cats", "repo": repo}], "frozen": True}
    images_dvc.write_text(yaml.safe_dump(document))
    concept = world.list(world.commit())["cat"]
    _, words = concept.missing_images() or ("", "")
    assert "imported from https://git.example.org/registry.git" in words
    assert "dvc add concepts/cat/images" in words
    assert "secret" not in words


@pytest.mark.parametrize("place", ["", "concepts/", "concepts/cat/"])
def test_images_may_be_the_output_of_a_stage(world: World, place: str) -> None:
    world.configure(CONFIG.format(url=world.remote))
    oid = world.add("cat", PICTURES)
    (world.clone / "concepts" / "cat" / "images.dvc").unlink()
    path = "concepts/cat/images".removeprefix(place)
    stage = {"cmd": "crop", "outs": [{"path": "other"}, {"path": path, "hash": "md5", "md5": oid, "size": 1}]}
    lock = {"schema": "2.0", "stages": {"fetch": {"cmd": "fetch"}, "crop@cat": stage}}
    (world.clone / place / "dvc.lock").write_text(yaml.safe_dump(lock))
    concept = world.list(world.commit(), check=("cat",))["cat"]
    assert (concept.error, concept.images, concept.missing) == (None, refs(PICTURES), ())
    assert concept == replace(read_checkout(world.clone).concepts["cat"], images=concept.images)
