"""Model card of a version and of main; that of main holds the index of versions in its metadata.

Strings of a concept are displayed literally: see conceptry.markdown for the escaping.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from conceptry.markdown import code, code_block, dump_front_matter, literal, plain, table
from conceptry.version import Manifest, Version
from conceptry.version_index import dump_index
from tasks.hub.ownership import OWNER

EMBEDS = "learned_embeds.safetensors"
GRID = "samples/grid.png"
BEFORE = "samples/initializer.png"
_BASES = {"sd-v1-4": ("CompVis/stable-diffusion-v1-4", "creativeml-openrail-m")}


def render_card(
    manifest: Manifest,
    *,
    repo: str,
    files: Sequence[str],
    version: Version | None = None,
    versions: Sequence[Version] = (),
    record: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    installation: str = "",
) -> str:
    """Return the README.md of a version, or of main.

    Args:
        manifest: concept.json of the version.
        repo: Id of the model repo.
        files: Paths of the files beside the card; it shows only images among them.
        version: On main, the version to describe; None inside a version, whose number is assigned later.
        versions: On main, all versions, for the index.
        record: On main, the hashes of the files beside the card, by path.
        installation: On main, the id of the installation whose repo it is.
    """
    sections = [
        f"# {plain(_title(manifest))}\n",
        _summary(manifest, version),
        _samples(files),
        _metrics(manifest),
        _usage(manifest, repo, version),
        _lineage(manifest, version),
        _versions(versions, version),
    ]
    front = front_matter(manifest)
    if versions:
        front["conceptry"] = index(manifest.name, versions, version, record, installation)
    return dump_front_matter(front) + "\n" + "\n".join(section for section in sections if section)


def render_unreleased(
    name: str,
    versions: Sequence[Version],
    record: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    installation: str = "",
) -> str:
    """Return the README.md of main while no version is released."""
    front = {"tags": ["conceptry"], "conceptry": index(name, versions, None, record, installation)}
    text = f"# {plain(name)}\n\nNo version is released.\n"
    return dump_front_matter(front) + "\n" + text + "\n" + _versions(versions, None)


def index(
    name: str,
    versions: Sequence[Version],
    released: Version | None,
    record: Mapping[str, Mapping[str, str]],
    installation: str,
) -> dict[str, Any]:
    """Return the index of versions in the card's metadata, which `list_live` reads."""
    owner = {OWNER: installation} if installation else {}
    own = {"concept": name, **owner, "release": released.name if released else None, **dump_index(versions)}
    return {**own, "files": {path: dict(hashes) for path, hashes in record.items()}} if record else own


def front_matter(manifest: Manifest) -> dict[str, Any]:
    """Return the metadata of the card that the Hub evaluates."""
    front: dict[str, Any] = {
        "tags": ["conceptry", "textual_inversion", "stable-diffusion", "text-to-image"],
        "pipeline_tag": "text-to-image",
        "library_name": "keras",
    }
    hub, licence = _origin_of_base(manifest)
    if licence:
        front["license"] = licence
    if hub:
        front |= {"base_model": hub, "base_model_relation": "adapter", "library_name": "diffusers"}
    return front


def _origin_of_base(manifest: Manifest) -> tuple[str | None, str | None]:
    """Return the model repo of the base model on the Hub, and its licence; None where they are not known."""
    entry = manifest.spec.get("base")
    if isinstance(entry, Mapping):
        return entry.get("hub"), entry.get("license")
    return _BASES.get(manifest.base_model, (None, None))


def _title(manifest: Manifest) -> str:
    space = manifest.spec.get("space")
    title = space.get("title") if isinstance(space, Mapping) else None
    return str(title or manifest.name)


def _token(manifest: Manifest) -> str:
    return str(manifest.spec.get("placeholder_token", ""))


def _summary(manifest: Manifest, version: Version | None) -> str:
    kind = "style" if manifest.spec.get("learnable_property") == "style" else "thing"
    lines = [
        f"Write {code(_token(manifest))} in a prompt and the base model {code(manifest.base_model)} draws this {kind}: "
        "a token learned by Textual Inversion.",
    ]
    if version is not None:
        lines.append(f"This is the card of **{version.name}**, the released version.")
    if manifest.gate != "passed":
        verdict = "did not pass its gate" if manifest.gate == "rejected" else "is undecided"
        reasons = "; ".join(plain(reason) for reason in manifest.reasons)
        lines.append(f"**This version {verdict}:** {reasons}.")
    return "\n\n".join(lines) + "\n"


def _samples(files: Sequence[str]) -> str:
    samples = [(GRID, "Samples with the learned token"), (BEFORE, "The same seeds before training")]
    there = [f"![{text}]({path})\n\n*{text}*\n" for path, text in samples if path in files]
    return "## Samples\n\n" + "\n".join(there) if there else ""


def _metrics(manifest: Manifest) -> str:
    metrics = manifest.metrics
    loss, images, total = metrics.loss, metrics.images, metrics.seconds.get("total")
    held_out = None if images.train is None else images.held_out
    rows = [
        ("Held-out loss with the initializer", _number(loss.initializer, ".4f")),
        ("Held-out loss with the token", _number(loss.trained, ".4f")),
        ("Improvement over the initializer", _number(loss.improvement, ".1%")),
        ("Judged against", plain(_compared(manifest))),
        *((plain(what), str(score)) for what, score in metrics.clip_scores),
        ("CLIP model", plain(metrics.clip.model or "") if metrics.clip else ""),
        ("Steps", _number(metrics.steps, "d")),
        ("Stopped by", plain(metrics.stopped or "")),
        ("Images trained on", _number(images.train, "d")),
        ("Images held out", _number(held_out, "d")),
        ("Training time", _number(total, ".0f") + " s" if total is not None else ""),
        ("Device", plain(metrics.device or "")),
        ("Gate", f"{manifest.gate} ({', '.join(manifest.gate_reasons)})" if manifest.gate_reasons else manifest.gate),
        ("Thresholds of the gate", str(manifest.judged or "")),
    ]
    return "## Metrics\n\n" + table(("Metric", "Value"), [row for row in rows if row[1]])


def _compared(manifest: Manifest) -> str:
    return manifest.evidence.words(manifest.metrics.loss.released) if manifest.evidence else ""


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _usage(manifest: Manifest, repo: str, version: Version | None) -> str:
    prompt = literal(f"a photo of {_token(manifest)}")
    revision = f", revision={literal(version.name)}" if version else ""
    fetch = f"from huggingface_hub import snapshot_download\n\nfolder = snapshot_download({literal(repo)}{revision})\n"
    handler = code_block(
        f"import sys\n\n{fetch}sys.path.insert(0, folder)\nfrom handler import EndpointHandler\n\n"
        f'answer = EndpointHandler(folder)({{"inputs": {prompt}, "parameters": {{"seed": 7}}}})\n',
        "python",
    )
    parts = ["## How to use\n"]
    base, _ = _origin_of_base(manifest)
    if base:
        diffusers = code_block(
            "from diffusers import StableDiffusionPipeline\n\n"
            f"pipeline = StableDiffusionPipeline.from_pretrained({literal(base)})\n"
            f"pipeline.load_textual_inversion({literal(repo)}, weight_name={literal(EMBEDS)}{revision})\n"
            f"pipeline({prompt}).images[0]\n",
            "python",
        )
        keras_cv = code_block(
            f"import keras_cv\nimport tensorflow as tf\n{fetch}\n"
            "model = keras_cv.models.StableDiffusion(512, 512)\n"
            f"model.tokenizer.add_tokens({literal(_token(manifest))})\n"
            f"tokens = model.tokenizer.encode({prompt})\n"
            "tokens += [49407] * (77 - len(tokens))\n"
            'encode = tf.saved_model.load(f"{folder}/text_encoder").signatures["serving_default"]\n'
            "context = encode(tokens=tf.constant([tokens]), positions=tf.range(77)[None])\n"
            "model.generate_image(next(iter(context.values())))\n",
            "python",
        )
        parts += [
            f"With diffusers:\n\n{diffusers}",
            f"In a web UI (AUTOMATIC1111, ComfyUI, InvokeAI): put {code(EMBEDS)} into its embeddings folder, "
            f"under the name that the prompt shall use, for example {code(manifest.name + '.safetensors')}.\n",
            f"With KerasCV{' (one vector)' if manifest.spec.get('num_vectors') == 1 else ''}:\n\n{keras_cv}",
        ]
    parts.append(f"With this repo's own handler, as an Inference Endpoint runs it:\n\n{handler}")
    return "\n".join(parts)


def _lineage(manifest: Manifest, version: Version | None) -> str:
    rows = [
        ("Git commit", code(manifest.commit)),
        ("Images in DVC", code(manifest.dvc_md5)),
        ("Prefect run", code(manifest.prefect_run) if manifest.prefect_run else ""),
        ("Training fingerprint", code(manifest.fingerprint)),
        ("Base model", f"{code(manifest.base_model)}, weights {code(manifest.base_digest)}"),
        ("Recipe", str(manifest.recipe)),
        ("Initializer", code(str(manifest.spec.get("initializer_token", "")))),
        ("Vectors", str(manifest.spec.get("num_vectors", ""))),
        ("Retrained for", plain(manifest.retrain) if manifest.retrain else ""),
        ("Revision", code(version.commit) if version else ""),
        ("Made", code(manifest.created)),
    ]
    about = f"The sha256 of every file is in {code('concept.json')}.\n"
    return "## Lineage\n\n" + table(("What", "Which"), [row for row in rows if row[1]]) + "\n" + about


def _versions(versions: Sequence[Version], released: Version | None) -> str:
    if not versions:
        return ""
    scored = any(version.clip is not None for version in versions)
    header = ("Branch", "Gate", "Held-out loss", *(["CLIP score"] if scored else []), "Made", "Fingerprint")
    rows = [
        (
            f"**{version.name}** (released)" if released and version.number == released.number else version.name,
            version.gate,
            _number(version.loss, ".4f"),
            *([_number(version.clip, ".1f")] if scored else []),
            code(version.created),
            code(version.fingerprint[:16]),
        )
        for version in reversed(versions)
    ]
    return "## Versions\n\n" + table(header, rows)
