"""Page of a published version in Prefect's UI: verdict, samples before and after, metrics, and links."""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from prefect.artifacts import create_markdown_artifact

from conceptry.git_address import commit_page
from conceptry.installation import Installation
from conceptry.markdown import code, plain, table
from conceptry.version import Manifest, Version
from conceptry.vertex_settings import VertexSettings
from flows.data_uri import data_uri

_SAMPLES = (("without training", "initializer.png"), ("with the learned token", "grid.png"))
"""Captions of the grids of the same seeds, and their files in the folder `samples` of a bundle."""


def show_version(installation: Installation, version: Version, manifest: Manifest, bundle: Path) -> None:
    """Attach the page of a published version to the run.

    Args:
        installation: Installation that published it.
        version: Published version.
        manifest: Its concept.json.
        bundle: Folder of its files.
    """
    name, suffix = manifest.name, installation.settings.deployment_suffix
    create_markdown_artifact(
        version_page(installation, version, manifest, bundle),
        key=f"{name}-metrics{suffix}",
        description=f"{name} {version.name}: gate, samples, metrics and links",
    )


def version_page(installation: Installation, version: Version, manifest: Manifest, bundle: Path) -> str:
    """Return the page of a version as Markdown."""
    judged = "passed" if manifest.gate == "passed" else f"**{manifest.gate}**: `release: latest` will not take it"
    return "\n".join(
        [
            f"# {plain(manifest.name)} {version.name}",
            "",
            f"Gate: {judged}",
            "",
            *(
                f"- {code(reason)}: {plain(words)}"
                for reason, words in zip_longest(manifest.gate_reasons, manifest.reasons, fillvalue="")
            ),
            "",
            *_samples(bundle),
            table(["measure", "value"], list(_figures(manifest))),
            "",
            table(["", ""], list(_links(installation, version, manifest))),
        ]
    )


def _samples(bundle: Path) -> Iterator[str]:
    """Yield a table with the grids before and after training; nothing if the bundle has none."""
    shown = [(words, bundle / "samples" / file) for words, file in _SAMPLES]
    found = [(words, path) for words, path in shown if path.is_file()]
    if found:
        yield table([words for words, _ in found], [[f"![{words}]({data_uri(path)})" for words, path in found]])
        yield ""


def _figures(manifest: Manifest) -> Iterator[list[str]]:
    metrics, loss = manifest.metrics, manifest.metrics.loss
    yield [f"loss on {loss.on}, initializer", _figure(loss.initializer)]
    yield [f"loss on {loss.on}, learned token", _figure(loss.trained)]
    yield from ([plain(what), str(score)] for what, score in metrics.clip_scores)
    yield ["steps", f"{metrics.steps} (stopped: {metrics.stopped})"]
    total, training = metrics.seconds.get("total", 0), metrics.seconds.get("train", 0)
    yield ["seconds", f"{total:.0f}, of which {training:.0f} training"]
    cost = manifest.cost or {}
    if cost.get("amount") is not None:
        yield ["cost", f"about {cost['amount']:.2f} {cost.get('currency', 'USD')}"]


def _figure(value: float | None) -> str:
    return "not judged" if value is None else f"{value:.4f}"


def _links(installation: Installation, version: Version, manifest: Manifest) -> Iterator[list[str]]:
    hub, name = installation.hub, manifest.name
    yield ["model", f"[{version.name}]({hub.url(name)}/tree/{version.name})"]
    yield ["model card", f"[README.md]({hub.url(name)}/blob/{version.name}/README.md)"]
    yield ["Space", f"[{hub.repo(name)}]({hub.endpoint}/spaces/{hub.repo(name)})"]
    short, page = code(manifest.commit[:12]), commit_page(installation.settings.repo, manifest.commit)
    yield ["git", f"[{short}]({page})" if page else short]
    yield ["pictures", f"{len(manifest.images)} files, {code(manifest.dvc_md5)}"]
    for job in (manifest.cost or {}).get("jobs", ()):
        yield from _job_links(installation.vertex, job)
    yield ["fingerprint", code(version.fingerprint[:16])]


def _job_links(settings: object, job: str) -> Iterator[list[str]]:
    """Yield links to a job and its log; the versions of older releases name jobs by their ids, which have no links."""
    short = job.rpartition("/")[2]
    if short == job or not isinstance(settings, VertexSettings):
        yield ["job", code(short)]
        return
    yield ["job", f"[{short}]({settings.job_link(job)})"]
    if log := settings.log_link(job):
        yield ["log", f"[of job {short}]({log})"]
