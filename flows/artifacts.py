"""Artifacts and log texts in Prefect's UI: the plan as a table, metrics and samples of a version."""

from itertools import zip_longest

from prefect.artifacts import create_image_artifact, create_markdown_artifact

from conceptry.actions import Plan
from conceptry.markdown import code, plain, table
from conceptry.plan_text import markdown, why
from conceptry.version import Manifest, Version


def plan_lines(plan: Plan) -> str:
    """Return the plan for a log: one line for each concept that is out of sync or not healthy."""
    listed = [
        action
        for one in plan.concepts
        for action in one.listed
        if action.kind != "nothing" or action.health != "Healthy"
    ]
    lines = [f"  {action.concept}: {action.kind}: {why(action)}" for action in listed]
    return "\n".join([f"commit {plan.revision[:12]}: {len(plan.concepts)} concepts", *lines])


def show_plan(plan: Plan, suffix: str = "") -> None:
    """Attach the plan to the run as an artifact; the suffix of its key differs between installations on one server."""
    what = f"The plan at commit {plan.revision[:12]}"
    create_markdown_artifact(markdown(plan), key=f"plan{suffix}", description=what)


def show_version(version: Version, manifest: Manifest, address: str, suffix: str = "") -> None:
    """Attach artifacts of a published version to the run: metrics, the gate's reasons, and samples.

    Args:
        version: Published version.
        manifest: Its concept.json.
        address: Address of the model repo on the Hub.
        suffix: Suffix of the artifacts' keys.
    """
    name = manifest.name
    create_markdown_artifact(
        version_page(version, manifest, address),
        key=f"{name}-metrics{suffix}",
        description=f"{name} {version.name}: metrics and gate",
    )
    create_image_artifact(
        f"{address}/resolve/{version.name}/samples/grid.png",
        key=f"{name}-samples{suffix}",
        description=f"{name} {version.name}: samples with the learned token",
    )


def version_page(version: Version, manifest: Manifest, address: str) -> str:
    """Return the metrics and the gate's reasons of a version as Markdown."""
    metrics = manifest.metrics
    loss, seconds = metrics.loss, metrics.seconds
    figures = [
        [f"loss on {loss.on}, initializer", _figure(loss.initializer)],
        [f"loss on {loss.on}, learned token", _figure(loss.trained)],
        *([plain(what), str(score)] for what, score in metrics.clip_scores),
        ["steps", f"{metrics.steps} (stopped: {metrics.stopped})"],
        ["seconds", f"{seconds.get('total', 0):.0f}, of which {seconds.get('train', 0):.0f} training"],
    ]
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
            table(["measure", "value"], figures),
            f"[Model card]({address}/blob/{version.name}/README.md) · [files]({address}/tree/{version.name}) · "
            f"fingerprint {code(version.fingerprint[:16])}",
        ]
    )


def _figure(value: float | None) -> str:
    return "not judged" if value is None else f"{value:.4f}"
