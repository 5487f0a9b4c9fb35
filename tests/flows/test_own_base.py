"""A concept is trained, published and served on a checkpoint that bases.yaml names."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import snapshot_download
from safetensors.numpy import save_file

from cli.embeds_import import Wanted, import_embeds
from cli.setup_gcp import register_blocks
from cli.verify import verify
from conceptry.actions import ActionKind
from conceptry.errors import ConceptryError, SettingsError
from conceptry.vertex_settings import VertexBasics
from emulators.vertex.cloud import Cloud
from flows.release import release
from flows.train_concept import train_in_process
from handler_template.handler import EndpointHandler
from tasks.base_entries import add_entry
from tasks.embeds import read_embeds
from tasks.hub import read_manifest
from tests.support.registry_world import World
from tests.support.sd_checkpoints import write_checkpoint
from tests.support.trainer_stand_in import vertex_variables
from trainer.base_weights.presets import MERGES, locate
from trainer.base_weights.sd_checkpoint import sha256_of

QUICK = {"max_steps": 2, "batch_size": 2, "early_stopping": False}


@pytest.fixture
def weights(world: World, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weights with a small checkpoint, which the clone's bases.yaml calls `mine`; its words are tiny's."""
    folder = world.root / "weights"
    add_entry(world.clone, "mine", write_checkpoint(world.root / "downloads", "sd1", "original"), folder)
    merges = locate("tiny")["merges.txt.gz"]
    (folder / MERGES.place).write_bytes(merges.read_bytes())
    file = world.clone / "bases.yaml"
    bases = yaml.safe_load(file.read_text())
    bases["mine"]["files"][MERGES.place] = sha256_of(merges)
    bases["mine"] |= {"hub": "a-person/mine", "license": "openrail"}
    file.write_text(yaml.safe_dump(bases))
    monkeypatch.setenv("CONCEPTRY_BASE_DIR", str(folder))
    return folder


@pytest.fixture
def vertex(world: World, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a folder in the bucket of the emulated Vertex AI, where its jobs look for weights."""
    address = f"gs://{cloud.bucket}/{world.root.name}/weights"
    for name, value in (vertex_variables(cloud) | {"CONCEPTRY_VERTEX_BASE": address}).items():
        if name != "CONCEPTRY_BACKEND":
            monkeypatch.setenv(name, value)
    register_blocks(VertexBasics(), cloud.service_account, cloud.bucket, None)
    return address


def test_it_is_trained_on_vertex_ai_published_and_served(
    world: World, weights: Path, cloud: Cloud, vertex: str
) -> None:
    concept = {"base_model": "mine", "resolution": 64, "training": QUICK | {"backend": "vertex"}}
    world.write("own-cat", **concept)
    world.write("tiny-cat", seed=700)
    world.push()
    before = cloud.jobs.all()
    assert {one.concept: one.training.kind for one in world.plan().concepts} == {
        "own-cat": ActionKind.TRAIN, "tiny-cat": ActionKind.TRAIN
    }  # fmt: skip
    with pytest.raises(
        SettingsError, match=r"lacks weights of mine: bpe_.*gz, mine/sd1\.safetensors; .*base mirror gs://"
    ):
        train_in_process(world.installation, "own-cat")
    assert cloud.jobs.all() == before, "no machine is paid for"
    fill(cloud, vertex, weights)
    assert train_in_process(world.installation, "own-cat") == "v1"
    assert [job.state.name for job in cloud.jobs.all()][len(before) :] == ["JOB_STATE_SUCCEEDED"]
    [version] = world.there("own-cat").versions
    manifest = read_manifest(world.session, "own-cat", version)
    assert (manifest.base_model, manifest.spec["base"]["hub"]) == ("mine", "a-person/mine")
    card = world.api().hf_hub_download("local/own-cat", "README.md", revision="v1", local_dir=world.root / "card")
    assert yaml.safe_load(Path(card).read_text().split("---")[1])["base_model"] == "a-person/mine"
    assert world.planned("own-cat").training.kind == "nothing"

    bases = (world.clone / "bases.yaml").read_text()
    (world.clone / "bases.yaml").write_text(bases.replace("mine:", "ours:", 1))
    world.write("own-cat", **concept | {"base_model": "ours"})
    world.push("another name")
    assert world.planned("own-cat").training.kind == "nothing", "a name is no other base model"

    world.write("own-cat", **concept | {"base_model": "ours"}, release="v1")
    world.push("released by its number")
    assert release("own-cat") == "v1"
    settings = json.loads(world.space_file("own-cat", "settings.json"))
    assert settings["base"]["checkpoint"] == "mine/sd1.safetensors"
    assert [one.wrong for one in verify(world.installation, ["own-cat"]) if one.wrong] == []

    folder = snapshot_download(
        "local/own-cat", revision="v1", local_dir=world.root / "v1", endpoint=world.hub, token=False
    )
    parameters = {"num_inference_steps": 2, "width": 64, "height": 64, "seed": 7}
    answer = EndpointHandler(folder)({"inputs": "a photo of <own-cat>", "parameters": parameters})
    assert answer


def fill(cloud: Cloud, address: str, weights: Path) -> None:
    """Copy a folder of weights to a gs:// address."""
    _, _, prefix = address.removeprefix("gs://").partition("/")
    for path in weights.rglob("*"):
        if path.is_file():
            place = f"{prefix}/{path.relative_to(weights).as_posix()}"
            cloud.client().bucket(cloud.bucket).blob(place).upload_from_filename(str(path))


def test_vectors_of_others_are_imported_for_stable_diffusion_2(world: World, weights: Path, tmp_path: Path) -> None:
    add_entry(world.clone, "two", write_checkpoint(tmp_path / "two", "sd2", "diffusers", width=1024), weights)
    file = world.clone / "bases.yaml"
    bases = yaml.safe_load(file.read_text())
    bases["two"]["files"][MERGES.place] = bases["mine"]["files"][MERGES.place]
    file.write_text(yaml.safe_dump(bases))
    vectors = np.random.default_rng(0).normal(size=(2, 1024)).astype("float32")
    save_file({"<wide-cat>": vectors}, tmp_path / "learned_embeds.safetensors")
    embeds = read_embeds(tmp_path / "learned_embeds.safetensors")

    with pytest.raises(ConceptryError, match=r"mine is Stable Diffusion 1\.x, whose vectors are 128 wide"):
        import_embeds(world.installation, world.clone, "wide-cat", embeds, Wanted(base_model="mine"))
    assert not (world.clone / "concepts" / "wide-cat").exists()
    done, added = import_embeds(world.installation, world.clone, "wide-cat", embeds, Wanted())
    assert added is not None
    assert yaml.safe_load((world.clone / "concepts" / "wide-cat" / "concept.yaml").read_text())["base_model"] == "two"
    manifest = read_manifest(world.session, "wide-cat", done.version)
    assert (manifest.base_model, manifest.spec["base"]["kind"]) == ("two", "sd2")
    assert "text_encoder/saved_model.pb" in manifest.files


@pytest.mark.usefixtures("weights")
def test_an_entry_that_is_gone_holds_its_concept(world: World) -> None:
    world.write("lost-cat", base_model="mine", resolution=64, training=QUICK)
    (world.clone / "bases.yaml").unlink()
    world.push()
    held = world.planned("lost-cat").training
    assert (held.kind, held.reason) == ("hold", "SpecInvalid")
    assert "'mine' is not one of: tiny, sd-v1-4" in held.cause
