"""Images from a DVC remote: what DVC itself pushed, and what a damaged or hostile remote holds."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.repo import Repo

from conceptry.errors import ConceptryError, DataCorruptError, DataMissingError, SettingsError, TransientError
from tasks import dvc
from tests.support.dvc_world import CONFIG, PICTURES, SPEC, World, md5, refs


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.start()
    return world


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
