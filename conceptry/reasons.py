"""Reason codes: why an action, a deferral, a drift or a verdict is what it is, for programs.

Each enumeration is closed. The words beside a code may change from release to release; a code does not. They are
written the way Flux and Argo CD write the reasons of their conditions.
"""

from enum import StrEnum


class ActionReason(StrEnum):
    """Why a plan has this action for a concept."""

    # train
    FIRST_VERSION = "FirstVersion"
    IMAGES_CHANGED = "ImagesChanged"
    SETTINGS_CHANGED = "SettingsChanged"
    BASE_MODEL_CHANGED = "BaseModelChanged"
    RETRAIN_DUE = "RetrainDue"
    # release, adopt
    RELEASE_PINNED = "ReleasePinned"
    RELEASE_LATEST = "ReleaseLatest"
    RELEASE_NONE = "ReleaseNone"
    INPUTS_PUBLISHED = "InputsPublished"
    # render
    SPACE_OUTDATED = "SpaceOutdated"
    # repair
    DRIFTED = "Drifted"
    SPACE_MISSING = "SpaceMissing"
    SPACE_PAUSED = "SpacePaused"
    SPACE_UNSTAMPED = "SpaceUnstamped"
    CARD_OUTDATED = "CardOutdated"
    # archive
    REMOVED_FROM_GIT = "RemovedFromGit"
    # wait
    REMOTE_UNREACHABLE = "RemoteUnreachable"
    LISTING_NOT_PUSHED = "ListingNotPushed"
    IMAGES_NOT_PUSHED = "ImagesNotPushed"
    # hold
    SPEC_INVALID = "SpecInvalid"
    DATA_CORRUPT = "DataCorrupt"
    REPO_UNREADABLE = "RepoUnreadable"
    BASE_MODEL_UNAVAILABLE = "BaseModelUnavailable"
    NO_IMAGES = "NoImages"
    TRAINING_FAILED = "TrainingFailed"
    VERSION_NOT_PUBLISHED = "VersionNotPublished"
    GATE_REJECTED = "GateRejected"
    SUSPENDED = "Suspended"
    # nothing
    IN_SYNC = "InSync"
    TRAINING_RUNNING = "TrainingRunning"
    RELEASE_RUNNING = "ReleaseRunning"
    NOTHING_RELEASED = "NothingReleased"
    ARCHIVED = "Archived"


class DeferralReason(StrEnum):
    """Why an action that is needed is not carried out now."""

    POLICY_INVALID = "PolicyInvalid"
    REGISTRY_SUSPENDED = "RegistrySuspended"
    WINDOW_CLOSED = "WindowClosed"
    CANARY_FIRST = "CanaryFirst"
    CANARY_FAILED = "CanaryFailed"
    ROLLOUT_STOPPED = "RolloutStopped"
    NO_FREE_PLACE = "NoFreePlace"


class DriftReason(StrEnum):
    """What was changed by hand on the Hub."""

    BRANCH_MISSING = "BranchMissing"
    BRANCH_MOVED = "BranchMoved"
    TAG_MISSING = "TagMissing"
    TAG_MOVED = "TagMoved"
    REPO_MISSING = "RepoMissing"
    SPACE_EDITED = "SpaceEdited"


class GateReason(StrEnum):
    """What one criterion of the release gate found."""

    IMPROVED = "Improved"
    NOT_IMPROVED = "NotImproved"
    LOSS_MISSING = "LossMissing"
    LOSS_NOT_FINITE = "LossNotFinite"
    BETTER_THAN_RELEASED = "BetterThanReleased"
    NOT_BETTER_THAN_RELEASED = "NotBetterThanReleased"
    CLIP_GAINED = "ClipGained"
    CLIP_NOT_GAINED = "ClipNotGained"
    CLIP_MISSING = "ClipMissing"
    IMPORTED = "Imported"
