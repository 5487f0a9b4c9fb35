"""Live state: published versions with their manifests, Spaces and cards, per concept and for all concepts."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from conceptry.errors import HubError
from conceptry.reasons import OF_LOSSES, DriftReason, GateReason
from trainer.metrics import TrainingMetrics

Gate = Literal["passed", "rejected", "undecided"]

_UP = frozenset({"APP_STARTING", "BUILDING", "RUNNING", "RUNNING_APP_STARTING", "RUNNING_BUILDING", "SLEEPING"})
_FAILED = frozenset({"BUILD_ERROR", "CONFIG_ERROR", "NO_APP_FILE", "RUNTIME_ERROR"})

_BASELINES = {
    "initializer": "the initializer",
    "mean": "the mean of all words",
    "class_prompt": "the initializer's words",
    "empty_prompt": "an empty prompt",
    "released": "the released version",
}


def _moment(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an ISO date and time") from None
    return text


@dataclass(frozen=True)
class Evidence:
    """Comparison that decided a verdict: with the baseline that is hardest to beat.

    `improvement` is the fraction by which the held-out loss is lower than the baseline's, `lower` and `upper` are its
    bounds, each with `confidence`; `required` is what `lower` has to exceed.
    """

    baseline: str
    improvement: float
    lower: float
    upper: float
    required: float
    confidence: float

    def words(self, released: str | None = None) -> str:
        """Return the comparison in words; `released` names the released version where that is the baseline."""
        name = _BASELINES.get(self.baseline, self.baseline)
        if self.baseline == "released" and released:
            name = f"{released}, the released version"
        needed = f"more than {self.required:.1%} is needed" if self.required else "anything lower is enough"
        return (
            f"{abs(self.improvement):.1%} {'lower' if self.improvement >= 0 else 'higher'} than with {name} "
            f"(lower by {self.lower:.1%} to {self.upper:.1%} with {self.confidence:.0%} confidence; {needed})"
        )


@dataclass(frozen=True)
class Thresholds:
    """Thresholds that a version was judged by: `gate` of concept.yaml, with the base model's default filled in."""

    min_improvement: float
    confidence: float
    min_clip_gain: float | None = None

    def changes(self, new: "Thresholds") -> tuple[str, ...]:
        """Return each threshold that differs, in words."""
        before, after = asdict(self), asdict(new)
        return tuple(
            f"gate.{key} {_threshold(before[key])} -> {_threshold(after[key])}"
            for key in before
            if before[key] != after[key]
        )

    def __str__(self) -> str:
        return ", ".join(f"{key} {value:g}" for key, value in asdict(self).items() if value is not None)


def _threshold(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


@dataclass(frozen=True)
class Version:
    """Published version, branch `vN`, as listed in the index of the model card.

    `fingerprint` is unique to it; `inputs` is the fingerprint without a scheduled retraining's date, which the versions
    of the same inputs share. `loss` is its mean held-out loss. `images` (`content_keys` of conceptry.fingerprint) and
    `spec` (`training_keys`) are kept so that a plan can say what changed. `created` is an ISO date and time in UTC.
    `seconds` is the duration of the training. `clip` is the CLIP score of the samples with the images, if computed.
    `gate_reason` is the code that decided the gate's verdict, `evidence` the comparison that it rests on, `judged` the
    thresholds; a version without these is never judged again. `keys` is set on a version that was read from a line of
    the index (conceptry.version_index) and so is not in full: the digest of its training keys, "" if unknown.
    """

    number: int
    fingerprint: str
    inputs: str
    commit: str
    gate: Gate
    dvc_md5: str
    created: Annotated[str, AfterValidator(_moment)]
    retrain: str | None = None
    loss: float | None = None
    seconds: float | None = None
    clip: float | None = None
    gate_reason: GateReason | None = None
    evidence: Evidence | None = None
    judged: Thresholds | None = None
    images: tuple[str, ...] = ()
    spec: Mapping[str, Any] = field(default_factory=dict, hash=False)
    keys: str | None = None

    @property
    def name(self) -> str:
        """Name of the branch, which `release:` in concept.yaml refers to."""
        return f"v{self.number}"

    @property
    def because(self) -> str:
        """What the verdict rests on: the comparison of losses if that decided, else the meaning of its reason."""
        if self.evidence and (self.gate_reason is None or self.gate_reason in OF_LOSSES):
            return self.evidence.words()
        return self.gate_reason.meaning.removeprefix("undecided: ").rstrip(".") if self.gate_reason else ""

    @property
    def day(self) -> date:
        """Day of creation, in UTC."""
        return datetime.fromisoformat(self.created).date()

    def to_index(self) -> dict[str, Any]:
        """Return plain values for the metadata of the model card; `from_index` parses them."""
        index = {key: getattr(self, key) for key in self.__dataclass_fields__}
        index.update(
            images=list(self.images),
            spec=dict(self.spec),
            gate_reason=self.gate_reason and str(self.gate_reason),
            evidence=self.evidence and asdict(self.evidence),
            judged=self.judged and {key: value for key, value in asdict(self.judged).items() if value is not None},
        )
        return {key: value for key, value in index.items() if value not in (None, [], {})}

    @staticmethod
    def from_index(index: object) -> "Version":
        """Parse one entry of the index.

        Raises:
            HubError: the entry is not one that `to_index` returned; the card was edited manually.
        """
        try:
            return _VERSION.validate_python(index)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"]) or "entry"
            raise HubError(
                f"the card's index of versions cannot be read: {place}: {first['msg'].removeprefix('Value error, ')}",
                next_step="restore the README.md of the model repo's main branch",
            ) from None


_VERSION = TypeAdapter(Version)


class Manifest(BaseModel):
    """Content of a version's concept.json: lineage, metrics and file digests."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    manifest: Literal[1] = Field(1, description="Version of this file's layout.")
    name: str = Field(description="The concept.")
    version: str | None = Field(None, description="Branch vN; null while no number is assigned.")
    fingerprint: str = Field(description="Training fingerprint, sha256 in hex, unique to this version.")
    inputs: str = Field(description="Training fingerprint without a scheduled retraining's date.")
    retrain: str | None = Field(None, description="ISO date for which a scheduled retraining was due.")
    images: dict[str, str] = Field(description="md5 of each file under images/, by its path there.")
    spec: dict[str, Any] = Field(description="concept.yaml with the defaults filled in.")
    base_model: str = Field(description="Preset of the base model.")
    base_digest: str = Field(description="Digest of the preset's weights.")
    recipe: int = Field(description="trainer.RECIPE.")
    commit: str = Field(description="Git commit whose concept.yaml and images.dvc were trained.")
    dvc_md5: str = Field(description="md5 of the images folder in DVC, with its .dir.")
    prefect_run: str | None = Field(None, description="Id of the Prefect flow run.")
    gate: Gate = Field(description="Whether `release: latest` may release this version.")
    reasons: list[str] = Field(default_factory=list, description="The gate's judgement in words.")
    gate_reasons: list[GateReason] = Field(
        default_factory=list, description="Reason code of each of these; empty in versions of release 0.1 and before."
    )
    evidence: Evidence | None = Field(None, description="Comparison that decided the verdict; null if there was none.")
    judged: Thresholds | None = Field(
        None,
        description="Thresholds of the gate; null in imported versions, and in those of release 0.1 and before.",
    )
    metrics: TrainingMetrics = Field(description="metrics.json of the trainer.")
    files: dict[str, str] = Field(
        default_factory=dict, description="sha256 of every other file of the version, by path."
    )
    seconds: dict[str, float] = Field(default_factory=dict, description="Time spent, by phase.")
    cost: dict[str, Any] | None = Field(None, description="What the accelerator cost; null on one's own machine.")
    imported: dict[str, Any] | None = Field(
        None, description="Where the vectors were taken from when they were not trained here."
    )
    created: str = Field(description="ISO date and time in UTC.")

    @property
    def deciding_reason(self) -> GateReason | None:
        """Code of the criterion that decided the verdict, the first; None in versions of release 0.1 and before."""
        return next(iter(self.gate_reasons), None)


@dataclass(frozen=True)
class SpaceState:
    """Stamp of a Space: the name of the served version and the serving fingerprint.

    `sha` is the commit that was read. `files` is the sha256 of the record of the pushed files; None for
    a Space that was pushed by a release of Conceptry without such records. `stage` is the Hub's word for what its app
    does, for example RUNNING, at the commit `running_sha`; None if the Hub does not say.
    """

    release: str | None
    serving: str | None
    paused: bool = False
    sha: str | None = None
    files: str | None = None
    stage: str | None = None
    running_sha: str | None = None

    @property
    def serves(self) -> bool:
        """Whether it serves a version, or runs although its stamp says that it serves none."""
        return self.release is not None or self.stage in _UP

    @property
    def failed(self) -> bool:
        """Whether the app of its commit ended in an error, or could not be built."""
        return self.stage in _FAILED and self.running_sha in (None, self.sha)


@dataclass(frozen=True)
class MainState:
    """State of main of the model repo: the version that its card describes, at the commit `sha`.

    `versions` are the numbers that its index lists, `signed` is whether it says which installation made it.
    """

    release: str | None
    sha: str | None = None
    versions: tuple[int, ...] = ()
    signed: bool = True


@dataclass(frozen=True)
class Drift:
    """Manual change on the Hub: a reason code for programs, and words for users."""

    reason: DriftReason
    detail: str

    def __str__(self) -> str:
        return self.detail


@dataclass(frozen=True)
class LiveConcept:
    """Live state of one concept.

    `space` is None if there is no Space, `main` if the card was not read. `drift` lists manual changes. With
    `error` the repo's content is not readable, and the plan holds the concept. `public` is whether its model repo or
    its Space is visible to everyone. `holder` says in words who else holds the name; the other fields are empty then.
    `unsigned` is whether an older release made its repos, so that they do not say for which installation.
    """

    name: str
    versions: tuple[Version, ...]
    space: SpaceState | None
    main: MainState | None = None
    drift: tuple[Drift, ...] = ()
    error: str | None = None
    public: bool = False
    holder: str | None = None
    unsigned: bool = False


@dataclass(frozen=True)
class Live:
    """Live state of all concepts."""

    concepts: Mapping[str, LiveConcept]

    def digest(self) -> str:
        """Return a digest of the state; fields that only a closer inspection fills in do not count."""
        lines = []
        for name, there in sorted(self.concepts.items()):
            versions = [(version.number, version.fingerprint, version.commit) for version in there.versions]
            space = there.space and (there.space.release, there.space.serving, there.space.paused, there.space.sha)
            lines.append(repr((name, versions, space, there.main and (there.main.release, there.main.sha))))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()
