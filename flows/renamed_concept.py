"""Concepts that were renamed while their training ran: the version is published under the new name, and paid once.

A fingerprint holds no name, so the renamed concept has the same one, and its run goes on under the parameters that it
was started with.
"""

from dataclasses import replace

from conceptry.concept import BaseModel
from conceptry.desired import Desired, DesiredConcept
from conceptry.fingerprint import training_keys
from conceptry.installation import Installation
from conceptry.training_job import TrainingJob
from tasks import training
from tasks.git.tasks import read_desired, read_git


def name_at_head(installation: Installation, name: str, revision: str) -> str:
    """Return the name of a concept at the head of the branch: another one if its folder was renamed since a revision.

    Raises:
        SettingsError, TransientError: the origin could not be read.
    """
    head = read_git(installation)
    if name in head.concepts:
        return name
    then = read_desired(installation, revision, only=name).concepts.get(name)
    return _same(head, then) or name if then is not None else name


def renamed_job(installation: Installation, job: TrainingJob) -> TrainingJob:
    """Return a training under the name that its concept has at the head of the branch, to be published there.

    Raises:
        SettingsError, TransientError: the origin could not be read.
    """
    head = read_git(installation)
    found = None if job.name in head.concepts else _same(head, job.desired)
    concept = head.concepts[found] if found else None
    if found is None or concept is None or concept.spec is None:
        return job
    desired = replace(concept, images=job.desired.images)
    return replace(job, name=found, revision=head.revision, desired=desired, spec=concept.spec)


def _same(head: Desired, then: DesiredConcept) -> str | None:
    """Return the concept that has the same images and training keys; the first of several."""
    bases = training.base_models()
    keys, concepts = _keys(then, bases), sorted(head.concepts.items())
    same = (name for name, one in concepts if one.dvc_md5 == then.dvc_md5 and _keys(one, bases) == keys)
    return next(same, None) if keys is not None else None


def _keys(concept: DesiredConcept, bases: dict[str, BaseModel]) -> dict[str, object] | None:
    spec = concept.spec
    if spec is None or spec.base_model not in bases:
        return None
    return training_keys(spec, bases[spec.base_model])
