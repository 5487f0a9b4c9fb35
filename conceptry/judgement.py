"""Judgement of published versions by a changed gate, from their recorded metrics.

The index records by which thresholds each version was judged. When those in git, or the base model's default, differ,
the versions that `release: latest` chooses from are judged again; no training is needed.
"""

from collections.abc import Mapping

from conceptry.concept import BaseModel, ConceptSpec
from conceptry.gate import judge, thresholds
from conceptry.planner import ConceptFacts
from conceptry.version import Manifest, Thresholds, Version

NEWEST = 10
"""So many of the newest versions are judged at a time: of all, of those that passed, and the same of today's inputs."""


def outdated_judgements(facts: ConceptFacts) -> dict[int, Thresholds]:
    """Return the versions that git's gate may judge otherwise, by number, with its thresholds.

    When the newest that passed fail, the next ones are among them in the next plan.
    """
    groups = [facts.live.versions, facts.made]
    groups += [tuple(version for version in group if version.gate == "passed") for group in groups]
    near = {version.number: version for group in groups for version in group[-NEWEST:]}
    near |= {version.number: version for version in facts.live.versions if version.name == facts.served}
    gates = {number: _thresholds(version, facts.spec, facts.inputs.bases) for number, version in sorted(near.items())}
    return {number: gate for number, gate in gates.items() if gate is not None and near[number].judged != gate}


def _thresholds(version: Version, spec: ConceptSpec, bases: Mapping[str, BaseModel]) -> Thresholds | None:
    """Return the thresholds in git for a version; None if it cannot be judged by them.

    The default is that of the base model that it was trained on.
    """
    base = bases.get(str(version.spec.get("base_model")))
    return thresholds(spec.gate, base) if base is not None and version.judged is not None else None


def with_judgement(manifest: Manifest, gate: Thresholds | None) -> Manifest:
    """Return a manifest with the verdict by these thresholds on its recorded metrics; with None as it was published."""
    if gate is None or gate == manifest.judged:
        return manifest
    result = judge(manifest.metrics, gate)
    verdict = {
        "gate": result.verdict,
        "reasons": [finding.text for finding in result.findings],
        "gate_reasons": [finding.reason for finding in result.findings],
        "evidence": result.evidence,
        "judged": gate,
    }
    return manifest.model_copy(update=verdict)
