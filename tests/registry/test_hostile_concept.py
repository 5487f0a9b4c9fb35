"""Whatever one concept's files, folder name or listing hold: the other two are planned as without it."""

import io
import json
import subprocess
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from rich.console import Console

from cli.plan import print_plan
from conceptry.actions import ConceptPlan, Plan
from conceptry.installation import Installation
from conceptry.isolation import printable_name
from conceptry.plan_text import markdown
from conceptry.settings import Settings
from conceptry.version import Live
from flows.artifacts import plan_lines
from flows.current_installation import build_installation
from flows.observe import Context, Observation
from flows.reconcile import compare
from flows.steps import DIRECT

SPEC = b'placeholder_token: "<%s>"\ninitializer_token: circle\n'
DVC = b"outs:\n- md5: %s.dir\n  size: 1\n  nfiles: 1\n  hash: md5\n  path: images\n"
PICTURE = md5(b"picture").hexdigest()
LISTING = json.dumps([{"md5": PICTURE, "relpath": "a.png"}]).encode()
BAD = "bad-cat"

HOSTILE_TEXT = st.sampled_from(
    [
        b"", b"\x00", b"\xff\xfe", b"\xe9t\xe9", b"\xed\xb3\xa9", b"\r", b"\t- : {", b"[" * 10_000, b"{a: " * 5_000,
        b"&a [*a]", b"&a {b: *a}", b"a: &x [1]\nb: *x\n", b"!!python/object/apply:os.system [id]", b"? {a: 1}\n: 2\n",
        b"- " * 30_000, b"a: 1" + b"0" * 5_000, b"a: .nan", b"a: 0x" + b"f" * 9_000, b"---\n---\n", b"%TAG ! !\n--- 1",
        b'placeholder_token: "<\\x1b[2J>"', b'"\\x1b\\u0007": 1\n', b"<<: {a: 1}\n", b"a: 2026-13-45\n",
        b"\xef\xbb\xbfa: 1",
        b"space:\n  title: " + "\u202e\U0001f600".encode() * 40, b"release: 1:60:60\n", b"=: 1\n", b"a: !!binary x\n",
    ]
) | st.binary(max_size=200)  # fmt: skip
PATHS = [r"\ud800.png", "../x", r"a\u0000", "/etc/x", "", "C:/x", "a//b", r"a\u001b"]
LISTINGS = st.sampled_from(
    [
        b"", b"null", b"{}", b"1", b'"a"', b"[1]", b"[null]", b"[[]]", b'[{"md5": 1, "relpath": 2}]', b"[" * 100_000,
        b"1" * 5_000, b"[NaN]", b'[{"md5": "../../x", "relpath": "a.png"}]', LISTING[:-1] + b"," + LISTING[1:],
        b'{"a": ' * 50_000, b"\xff", *(f'[{{"md5": "{PICTURE}", "relpath": "{path}"}}]'.encode() for path in PATHS),
    ]
) | st.binary(max_size=60)  # fmt: skip
FOLDERS = st.sampled_from(
    [
        b"caf\xe9",
        b"a\nb",
        b"\x1b[2J",
        b"Bad-Cat",
        "be\u0301b\u00e9".encode(),
        b"-bad",
        b"con\\cat",
        b"x" * 200,
        b"\xed\xb3\xa9",
    ]
)


@dataclass(frozen=True)
class Repository:
    """A bare origin whose commits are made of bytes, without a working tree, and its DVC remote."""

    root: Path

    @property
    def installation(self) -> Installation:
        made = {"repo": str(self.root / "origin.git"), "work": self.root / "work", "branch": "main"}
        hub = {"hub_owner": "local", "hub_endpoint": "http://127.0.0.1:9", "hub_token": SecretStr("hf_local")}
        return build_installation(Settings(**made, **hub))

    def git(self, *arguments: str, data: bytes = b"") -> str:
        done = subprocess.run(
            ["git", f"--git-dir={self.root / 'origin.git'}", *arguments], input=data, check=True, capture_output=True
        )
        return done.stdout.decode().strip()

    def tree(self, entries: dict[bytes, tuple[str, str]]) -> str:
        """Make a tree of names with mode and object."""
        kinds = {"040000": "tree", "160000": "commit"}
        lines = [
            f"{mode} {kinds.get(mode, 'blob')} {oid}\t".encode() + name + b"\0" for name, (mode, oid) in entries.items()
        ]
        return self.git("mktree", "-z", "--missing", data=b"".join(lines))

    def blob(self, data: bytes, mode: str = "100644") -> tuple[str, str]:
        return mode, self.git("hash-object", "-w", "--stdin", data=data)

    def store(self, oid: str, data: bytes) -> None:
        path = self.root / "remote" / "files" / "md5" / oid[:2] / oid[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def concept(self, name: str, listing: bytes = LISTING, **files: bytes) -> tuple[str, str]:
        oid = f"{md5(listing).hexdigest()}.dir"
        self.store(oid, listing)
        spec = files.get("spec", SPEC % name.encode())
        dvc = files.get("dvc", DVC % md5(listing).hexdigest().encode())
        return "040000", self.tree({b"concept.yaml": self.blob(spec), b"images.dvc": self.blob(dvc)})

    def commit(self, **concepts: tuple[str, str]) -> None:
        self.commit_named({name.encode().replace(b"_", b"-"): entry for name, entry in concepts.items()})

    def commit_named(self, concepts: dict[bytes, tuple[str, str]], policy: tuple[str, str] | None = None) -> None:
        config = f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {self.root / 'remote'}\n".encode()
        good = {name.encode(): self.concept(name) for name in ("good-cat", "good-dog")}
        top = {
            b"concepts": ("040000", self.tree({**good, **concepts})),
            b".dvc": ("040000", self.tree({b"config": self.blob(config)})),
            **({b"conceptry.yaml": policy} if policy else {}),
        }
        made = self.git("-c", "user.name=a", "-c", "user.email=a@b", "commit-tree", "-m", "x", self.tree(top))
        self.git("update-ref", "refs/heads/main", made)

    def plan(self) -> Plan:
        """The plan against an empty Hub."""
        context = Context(self.installation, None, DIRECT)  # type: ignore[arg-type]
        desired = DIRECT.list_images(self.installation, DIRECT.read_git(self.installation), ())
        return compare(context, Observation(desired, Live({})), None).plan


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    made = Repository(tmp_path_factory.mktemp("hostile"))
    subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", str(made.root / "origin.git")], check=True)
    made.store(PICTURE, b"picture")
    return made


def check(repository: Repository, name: str = BAD) -> ConceptPlan | None:
    """Check what the plan says of the other two, and that it can be told in every form; return the plan of `name`."""
    plan = repository.plan()
    found = {one.concept: one for one in plan.concepts}
    for other in ("good-cat", "good-dog"):
        assert (found[other].training.kind, found[other].training.reason) == ("train", "FirstVersion")
    text = plan.to_json()
    assert Plan.from_json(text.encode()) == plan
    markdown(plan).encode()
    plan_lines(plan).encode()
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    print_plan(plan, Console(file=printed), "repo")
    assert "\x1b[2J" not in text + plan_lines(plan)
    return found.get(name)


FUZZ = settings(max_examples=30, suppress_health_check=list(HealthCheck))


@FUZZ
@given(HOSTILE_TEXT, st.booleans())
def test_concept_yaml(repository: Repository, text: bytes, after: bool) -> None:
    repository.commit(bad_cat=repository.concept(BAD, spec=SPEC % BAD.encode() + text if after else text))
    assert check(repository) is not None


@FUZZ
@given(HOSTILE_TEXT)
def test_images_dvc(repository: Repository, text: bytes) -> None:
    repository.commit(bad_cat=repository.concept(BAD, dvc=text))
    one = check(repository)
    assert one is not None
    assert one.training.kind == "hold"


@FUZZ
@given(LISTINGS)
def test_listing(repository: Repository, listing: bytes) -> None:
    repository.commit(bad_cat=repository.concept(BAD, listing))
    one = check(repository)
    assert one is not None
    assert one.training.kind in ("hold", "train")


@given(FOLDERS)
def test_name_of_the_folder(repository: Repository, name: bytes) -> None:
    repository.commit_named({name: repository.concept(BAD)})
    one = check(repository, printable_name(name.decode("utf-8", "surrogateescape")))
    assert one is not None
    assert one.training.reason == "SpecInvalid"


@pytest.mark.parametrize("mode", ["120000", "160000"])
def test_a_link_or_submodule_is_held_and_not_archived(repository: Repository, mode: str) -> None:
    entry = repository.blob(b"good-cat", mode) if mode == "120000" else (mode, "1" * 40)
    repository.commit(bad_cat=entry)
    one = check(repository)
    assert one is not None
    assert (one.serving.kind, one.serving.reason) == ("hold", "SpecInvalid")


def test_links_within_a_folder_are_not_followed(repository: Repository) -> None:
    _, dvc = repository.blob(DVC % b"0")
    for mode in ("120000", "040000"):
        target = repository.blob(b"../good-cat/concept.yaml", mode) if mode == "120000" else repository.concept(BAD)
        tree = repository.tree({b"concept.yaml": target, b"images.dvc": ("100644", dvc)})
        repository.commit(bad_cat=("040000", tree))
        one = check(repository)
        assert one is not None
        assert one.training.reason == "SpecInvalid"


@given(HOSTILE_TEXT)
def test_conceptry_yaml_stops_trainings_only(repository: Repository, text: bytes) -> None:
    repository.commit_named({BAD.encode(): repository.concept(BAD)}, repository.blob(b"suspended: x\n" + text))
    assert check(repository) is not None
    assert {one.training.deferral for one in repository.plan().concepts} == {"PolicyInvalid"}


def test_conceptry_yaml_may_be_no_file(repository: Repository) -> None:
    folder = ("040000", repository.tree({b"x": repository.blob(b"")}))
    for entry in (folder, repository.blob(b"x", "120000"), ("160000", "1" * 40), repository.blob(b"#" * 10_000_000)):
        repository.commit_named({}, entry)
        check(repository)
        assert {one.training.deferral for one in repository.plan().concepts} == {"PolicyInvalid"}
