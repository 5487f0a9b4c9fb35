"""What a training takes from git's head: everything that is no input of its fingerprint.

A run trains the concept.yaml and the images of its own commit. Whether its version is private, how it is judged, and
where it is trained is decided by the head of the branch, also for a run that is tried again after days. A concept that
was renamed in the meantime has the same fingerprint, since that holds no name: its version is published under the new
name, and paid once.
"""

from dataclasses import replace

from conceptry.desired import Desired, DesiredConcept
from conceptry.fingerprint import training_keys
from conceptry.installation import Installation
from conceptry.training_job import TrainingJob
from tasks import training
from tasks.git.desired_concepts import read_desired
from tasks.git.tasks import read_git

_OF_HEAD = ("gate", "space", "endpoint", "release", "retrain", "suspend")
"""Sections of concept.yaml that are no inputs of a fingerprint."""


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


def job_with_head(installation: Installation, job: TrainingJob) -> TrainingJob:
    """Return a training with the name, the visibility, the gate and the backend that git's head gives its concept.

    Raises:
        SettingsError, TransientError: the origin could not be read.
    """
    head = read_git(installation)
    renamed = None if job.name in head.concepts else _same(head, job.desired)
    concept = head.concepts.get(renamed or job.name)
    if concept is None:
        return job
    if concept.spec is None:
        hidden = concept.hidden or job.spec.space.private
        space = job.spec.space.model_copy(update={"private": hidden})
        return replace(job, spec=job.spec.model_copy(update={"space": space}))
    if renamed:
        desired = replace(concept, images=job.desired.images)
        return replace(job, name=renamed, revision=head.revision, desired=desired, spec=concept.spec)
    backend = {"backend": concept.spec.training.backend}
    training_spec = job.spec.training.model_copy(update=backend)
    current = {key: getattr(concept.spec, key) for key in _OF_HEAD}
    return replace(job, spec=job.spec.model_copy(update={**current, "training": training_spec}))


def _same(head: Desired, then: DesiredConcept) -> str | None:
    """Return the concept that has the same images and training keys; the first of several."""
    keys, concepts = _keys(then), sorted(head.concepts.items())
    same = (name for name, one in concepts if one.dvc_md5 == then.dvc_md5 and _keys(one) == keys)
    return next(same, None) if keys is not None else None


def _keys(concept: DesiredConcept) -> dict[str, object] | None:
    spec = concept.spec
    return None if spec is None else training_keys(spec, training.base_of(spec))
