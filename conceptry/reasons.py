"""Reason codes of actions, deferrals, drift and gate verdicts, for programs.

Each enumeration is closed. Codes are stable; the words beside a code may change between releases. Their form is that of
the condition reasons of Flux and Argo CD. docs/reference.md lists them.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Reason code with its meaning as an attribute."""

    meaning: str

    def __new__(cls, code: str, meaning: str) -> "Reason":
        """Create a member from code and meaning."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member


class ActionReason(Reason):
    """Reason of an action in a plan."""

    # train
    FIRST_VERSION = "FirstVersion", "train: the concept has no published version."
    IMAGES_CHANGED = "ImagesChanged", "train: git has other images or captions than the newest version."
    SETTINGS_CHANGED = "SettingsChanged", "train: concept.yaml has other training settings than the newest version."
    BASE_MODEL_CHANGED = "BaseModelChanged", "train: base model, its weights, or the trainer's RECIPE changed."
    RETRAIN_DUE = "RetrainDue", "train: a scheduled retraining is due."
    TRAINING_INTERRUPTED = "TrainingInterrupted", "train: the process of a started training was lost; it is resumed."
    # hide
    PRIVATE = "Private", "hide: concept.yaml says `space.private: true`, and its model repo or its Space is public."
    # release, adopt
    RELEASE_PINNED = "ReleasePinned", "release: concept.yaml names another version than the Space serves."
    RELEASE_LATEST = "ReleaseLatest", "release: a newer version passed its gate."
    RELEASE_NONE = "ReleaseNone", "release: concept.yaml says `release: none`; the Space is paused."
    INPUTS_PUBLISHED = "InputsPublished", "adopt: a version of the inputs in git is published already."
    # judge
    GATE_CHANGED = "GateChanged", "judge: the gate has other thresholds than those that versions were judged by."
    # render
    SPACE_OUTDATED = "SpaceOutdated", "render: what the Space is rendered from has changed."
    TEMPLATES_CHANGED = (
        "TemplatesChanged",
        "render: a release of Conceptry has other templates; nothing else changed.",
    )
    # repair
    DRIFTED = "Drifted", "repair: branches, tags or the Space were changed manually; `drift` lists the changes."
    SPACE_MISSING = "SpaceMissing", "repair: the Space is missing."
    SPACE_PAUSED = "SpacePaused", "repair: the Space is paused, though a version is released."
    SPACE_UNSTAMPED = "SpaceUnstamped", "repair: the Space has no stamp of what it is rendered from."
    CARD_OUTDATED = "CardOutdated", "repair: the card on main describes another version than the Space serves."
    CARD_UNSIGNED = "CardUnsigned", "repair: the card on main does not say which installation made the repo."
    # archive
    REMOVED_FROM_GIT = "RemovedFromGit", "archive: the concept is no longer in git; its versions stay."
    # wait
    REMOTE_UNREACHABLE = "RemoteUnreachable", "wait: the DVC remote could not be read."
    LISTING_NOT_PUSHED = "ListingNotPushed", "wait: the list of images is not in the DVC remote."
    IMAGES_NOT_PUSHED = "ImagesNotPushed", "wait: some images are not in the DVC remote."
    # hold
    SPEC_INVALID = "SpecInvalid", "hold: concept.yaml or images.dvc has mistakes."
    UNEXPECTED = "Unexpected", "hold: an unexpected error; its traceback is in the log."
    DATA_CORRUPT = "DataCorrupt", "hold: the list of images in the DVC remote is damaged."
    NAME_TAKEN = (
        "NameTaken",
        "hold: a repo of the concept's name belongs to another installation, or was not made by Conceptry.",
    )
    REPO_UNREADABLE = "RepoUnreadable", "hold: the content of the model repo cannot be read."
    BASE_MODEL_UNAVAILABLE = "BaseModelUnavailable", "hold: the base model is not available in this installation."
    INITIALIZER_UNKNOWN = (
        "InitializerUnknown",
        "hold: the base model does not know the initializer's words, or the version to start from cannot be used.",
    )
    IMAGES_UNUSABLE = "ImagesUnusable", "hold: the images cannot be trained with, or the base model cannot draw such."
    NO_IMAGES = "NoImages", "hold: the images folder contains no image."
    TRAINING_FAILED = "TrainingFailed", "hold: the training of these inputs failed."
    TRAINING_CANCELLED = "TrainingCancelled", "hold: a user cancelled the training of these inputs."
    VERSION_NOT_PUBLISHED = "VersionNotPublished", "hold: concept.yaml names a version that does not exist."
    GATE_REJECTED = "GateRejected", "hold: the version of these inputs did not pass its gate."
    GATE_UNDECIDED = "GateUndecided", "hold: the gate could not decide about the version of these inputs."
    NOT_BETTER = "NotBetter", "hold: the version of these inputs is no better than the released one, which stays."
    SPACE_FAILED = "SpaceFailed", "hold: the app of the Space ended in an error, or could not be built."
    PAYMENT_REQUIRED = (
        "PaymentRequired",
        "hold: the Hub wants a plan, a way to pay or less storage for the Space; it is asked again every hour.",
    )
    HUB_REFUSED = (
        "HubRefused",
        "hold: the Hub refused to change the card or the Space, for example a token without the right; it is asked "
        "again every 15 minutes.",
    )
    SUSPENDED = "Suspended", "hold: concept.yaml says `suspend: true`."
    # nothing
    IN_SYNC = "InSync", "nothing: the Space serves the desired version."
    INPUTS_TRAINED = "InputsTrained", "nothing: a version of the inputs in git is published."
    AWAITING_VERSION = "AwaitingVersion", "nothing: the version to serve is not published yet."
    TRAINING_RUNNING = "TrainingRunning", "nothing: the training is scheduled or running."
    TRAINING_RETRIED = "TrainingRetried", "nothing: an error that passes ended the training, which is tried again."
    RETRAIN_FAILED = "RetrainFailed", "nothing: a scheduled retraining failed; it is tried again on a later day."
    RELEASE_RUNNING = "ReleaseRunning", "nothing: the run that published the version is releasing it."
    NOTHING_RELEASED = "NothingReleased", "nothing: concept.yaml says `release: none`, and nothing is served."
    UNSIGNED = "Unsigned", "nothing: the concept is not in git, and its repos do not say which installation made them."
    ARCHIVED = "Archived", "nothing: the concept is not in git, and its Space serves nothing."


class DeferralReason(Reason):
    """Reason why a needed action is not carried out now."""

    POLICY_INVALID = "PolicyInvalid", "conceptry.yaml has mistakes."
    REGISTRY_SUSPENDED = "RegistrySuspended", "conceptry.yaml says `suspend: true`."
    WINDOW_CLOSED = "WindowClosed", "No window of conceptry.yaml is open."
    CANARY_FIRST = "CanaryFirst", "Another concept, the canary, is trained first with the new RECIPE or base model."
    CANARY_FAILED = "CanaryFailed", "The canary failed with the new RECIPE or base model."
    ROLLOUT_STOPPED = "RolloutStopped", "Too many trainings failed with the new RECIPE or base model."
    TEMPLATES_CANARY_FIRST = (
        "TemplatesCanaryFirst",
        "The Space of another concept, the canary, gets the new templates first.",
    )
    TEMPLATES_CANARY_FAILED = "TemplatesCanaryFailed", "The Space of the canary failed with the new templates."
    TEMPLATES_IN_PROGRESS = "TemplatesInProgress", "The maximum of Spaces is being built with the new templates."
    TEMPLATES_STOPPED = "TemplatesStopped", "Too many Spaces failed with the new templates."
    NO_FREE_PLACE = "NoFreePlace", "The maximum of trainings runs or is scheduled."
    CONFIRMATION_NEEDED = (
        "ConfirmationNeeded",
        "More concepts would be archived or released otherwise at once than `guards` in conceptry.yaml allow.",
    )
    BUDGET_SPENT = "BudgetSpent", "The budget of conceptry.yaml for this month is spent, or does not suffice for it."
    HUB_LIMIT = "HubLimit", "The Hub takes no more changes for now (429), for example commits of this hour."
    REPAIR_FIRST = "RepairFirst", "Branches and tags that were changed manually are repaired first."


class DriftReason(Reason):
    """Kind of a manual change on the Hub."""

    BRANCH_MISSING = "BranchMissing", "The branch of a version was deleted."
    BRANCH_MOVED = "BranchMoved", "The branch of a version points at another commit."
    TAG_MISSING = "TagMissing", "The fingerprint tag of a version was deleted."
    TAG_MOVED = "TagMoved", "The fingerprint tag of a version points at another commit."
    REPO_MISSING = "RepoMissing", "The model repo was deleted."
    CARD_MISSING = "CardMissing", "The card on main of the model repo was deleted."
    CARD_EDITED = "CardEdited", "The card on main, or a file beside it, differs from what was written."
    DELETION_UNFINISHED = "DeletionUnfinished", "The deletion of a version was interrupted; the repair finishes it."
    SPACE_EDITED = "SpaceEdited", "Files of the Space differ from those that were pushed."


class GateReason(Reason):
    """Result of one criterion of the release gate."""

    IMPROVED = "Improved", "The held-out loss is lower than without training, by more than `gate.min_improvement`."
    NOT_IMPROVED = "NotImproved", "The held-out loss is not lower than without training by `gate.min_improvement`."
    IMPROVEMENT_UNCLEAR = "ImprovementUnclear", "undecided: the held-out images do not show which of these is true."
    NOTHING_HELD_OUT = "NothingHeldOut", "undecided: too few different images to judge by."
    BASELINES_MISSING = "BaselinesMissing", "undecided: an older release of the trainer reported no baselines."
    LOSS_MISSING = "LossMissing", "The trainer reported no loss."
    LOSS_NOT_FINITE = "LossNotFinite", "A loss is not a finite number."
    BETTER_THAN_RELEASED = "BetterThanReleased", "The held-out loss is lower than with the released version."
    NOT_BETTER_THAN_RELEASED = "NotBetterThanReleased", "The held-out loss is hardly lower than the released version's."
    UNCLEAR_AGAINST_RELEASED = (
        "UnclearAgainstReleased",
        "undecided: the held-out images do not show whether it is better than the released version.",
    )
    UNDRAWABLE = "Undrawable", "rejected: the base model cannot draw such images, so that its loss says nothing."
    COPIES = "Copies", "undecided: three quarters of the samples nearly equal images that were trained on."
    CLIP_GAINED = "ClipGained", "The CLIP score rose by at least `gate.min_clip_gain`."
    CLIP_NOT_GAINED = "ClipNotGained", "The CLIP score did not rise by `gate.min_clip_gain`."
    CLIP_MISSING = "ClipMissing", "`gate.min_clip_gain` is set, and the training had no CLIP model."
    IMPORTED = "Imported", "The vectors were imported and not judged."


OF_LOSSES = frozenset(
    {
        GateReason.IMPROVED,
        GateReason.NOT_IMPROVED,
        GateReason.IMPROVEMENT_UNCLEAR,
        GateReason.BETTER_THAN_RELEASED,
        GateReason.NOT_BETTER_THAN_RELEASED,
        GateReason.UNCLEAR_AGAINST_RELEASED,
    }
)
"""The reasons that a comparison of held-out losses gives."""
