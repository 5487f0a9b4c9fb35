"""Reason codes: why an action, a deferral, a drift or a verdict is what it is, for programs.

Each enumeration is closed. The words beside a code may change from release to release; a code does not. They are
written the way Flux and Argo CD write the reasons of their conditions. docs/reference.md lists them.
"""

from enum import StrEnum


class Reason(StrEnum):
    """A reason code that says what it means."""

    meaning: str

    def __new__(cls, code: str, meaning: str) -> "Reason":
        """Make a member of its code and its meaning."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member


class ActionReason(Reason):
    """Why a plan has this action for a concept."""

    # train
    FIRST_VERSION = "FirstVersion", "train: nothing is published of the concept."
    IMAGES_CHANGED = "ImagesChanged", "train: git has other images or captions than the newest version."
    SETTINGS_CHANGED = "SettingsChanged", "train: concept.yaml has other training settings than the newest version."
    BASE_MODEL_CHANGED = "BaseModelChanged", "train: base model, its weights, or the trainer's RECIPE changed."
    RETRAIN_DUE = "RetrainDue", "train: a scheduled retraining is due."
    # release, adopt
    RELEASE_PINNED = "ReleasePinned", "release: concept.yaml names another version than the Space serves."
    RELEASE_LATEST = "ReleaseLatest", "release: a newer version passed its gate."
    RELEASE_NONE = "ReleaseNone", "release: concept.yaml says `release: none`; the Space is paused."
    INPUTS_PUBLISHED = "InputsPublished", "adopt: git went back or on to inputs whose version is published."
    # render
    SPACE_OUTDATED = "SpaceOutdated", "render: what the Space is rendered from has changed."
    # repair
    DRIFTED = "Drifted", "repair: branches, tags or the Space were changed by hand; `drift` lists what."
    SPACE_MISSING = "SpaceMissing", "repair: there is no Space."
    SPACE_PAUSED = "SpacePaused", "repair: the Space is paused, though a version is released."
    SPACE_UNSTAMPED = "SpaceUnstamped", "repair: the Space does not say what it is rendered from."
    CARD_OUTDATED = "CardOutdated", "repair: the card on main describes another version than the Space serves."
    # archive
    REMOVED_FROM_GIT = "RemovedFromGit", "archive: the concept is no longer in git; its versions stay."
    # wait
    REMOTE_UNREACHABLE = "RemoteUnreachable", "wait: the DVC remote could not be asked."
    LISTING_NOT_PUSHED = "ListingNotPushed", "wait: the list of images is not in the DVC remote."
    IMAGES_NOT_PUSHED = "ImagesNotPushed", "wait: some images are not in the DVC remote."
    # hold
    SPEC_INVALID = "SpecInvalid", "hold: concept.yaml or images.dvc has mistakes."
    DATA_CORRUPT = "DataCorrupt", "hold: the list of images in the DVC remote is damaged."
    REPO_UNREADABLE = "RepoUnreadable", "hold: the model repo holds something that cannot be read."
    BASE_MODEL_UNAVAILABLE = "BaseModelUnavailable", "hold: the base model is not known here."
    NO_IMAGES = "NoImages", "hold: the images folder holds no picture."
    TRAINING_FAILED = "TrainingFailed", "hold: the training of these inputs failed."
    VERSION_NOT_PUBLISHED = "VersionNotPublished", "hold: concept.yaml names a version that does not exist."
    GATE_REJECTED = "GateRejected", "hold: the version of these inputs did not pass its gate."
    SUSPENDED = "Suspended", "hold: concept.yaml says `suspend: true`."
    # nothing
    IN_SYNC = "InSync", "nothing: the Hub holds what git asks for."
    TRAINING_RUNNING = "TrainingRunning", "nothing: the training is scheduled or runs."
    RELEASE_RUNNING = "ReleaseRunning", "nothing: the run that made the version is releasing it."
    NOTHING_RELEASED = "NothingReleased", "nothing: concept.yaml says `release: none`, and nothing is served."
    ARCHIVED = "Archived", "nothing: the concept is not in git, and its Space serves nothing."


class DeferralReason(Reason):
    """Why a training that is needed does not start now."""

    POLICY_INVALID = "PolicyInvalid", "conceptry.yaml has mistakes."
    REGISTRY_SUSPENDED = "RegistrySuspended", "conceptry.yaml says `suspend: true`."
    WINDOW_CLOSED = "WindowClosed", "No window of conceptry.yaml is open."
    CANARY_FIRST = "CanaryFirst", "Another concept is trained first with the new RECIPE or base model."
    CANARY_FAILED = "CanaryFailed", "The first concept went wrong with the new RECIPE or base model."
    ROLLOUT_STOPPED = "RolloutStopped", "Too many concepts went wrong with the new RECIPE or base model."
    NO_FREE_PLACE = "NoFreePlace", "As many trainings run or are scheduled as may."


class DriftReason(Reason):
    """What was changed by hand on the Hub."""

    BRANCH_MISSING = "BranchMissing", "The branch of a version is gone."
    BRANCH_MOVED = "BranchMoved", "The branch of a version points at another commit."
    TAG_MISSING = "TagMissing", "The fingerprint tag of a version is gone."
    TAG_MOVED = "TagMoved", "The fingerprint tag of a version points at another commit."
    REPO_MISSING = "RepoMissing", "The model repo is gone."
    SPACE_EDITED = "SpaceEdited", "Files of the Space are not those that were pushed."


class GateReason(Reason):
    """What one criterion of the release gate found."""

    IMPROVED = "Improved", "The held-out loss fell by as much as `gate.min_improvement` asks for."
    NOT_IMPROVED = "NotImproved", "The held-out loss did not fall by as much as `gate.min_improvement` asks for."
    LOSS_MISSING = "LossMissing", "The trainer reported no loss."
    LOSS_NOT_FINITE = "LossNotFinite", "A loss is not a finite number."
    BETTER_THAN_RELEASED = "BetterThanReleased", "A retraining has a lower loss than the released version."
    NOT_BETTER_THAN_RELEASED = "NotBetterThanReleased", "A retraining has no lower loss than the released version."
    CLIP_GAINED = "ClipGained", "The CLIP score rose by as much as `gate.min_clip_gain` asks for."
    CLIP_NOT_GAINED = "ClipNotGained", "The CLIP score did not rise by as much as `gate.min_clip_gain` asks for."
    CLIP_MISSING = "ClipMissing", "`gate.min_clip_gain` is set, and there was no CLIP model."
    IMPORTED = "Imported", "The vectors were imported and not judged."
