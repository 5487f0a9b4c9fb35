"""The causes of a plan, in the words that people read; test_plan.py has the worlds."""

import pytest

from tests.conceptry.test_plan import CASES


@pytest.mark.parametrize(
    ("world", "cause"),
    [
        ("a first version", "first version"),
        ("images added and removed", "images +2 -1"),
        ("an image added", "images +1"),
        ("an image removed and a setting changed", "images -1, training.max_steps default -> 3000"),
        ("a setting changed", "training.early_stopping true -> false"),
        ("a newer recipe", "recipe 1 -> 4"),
        ("other weights of the base model", "weights of tiny"),
        ("another base model", "resolution 64 -> 512, base_model tiny -> sd-v1-4"),
        ("a caption added", "the Space is missing / captions of 1 image"),
        ("an index entry without images", "the Space is missing / images +4"),
        ("an index entry without settings", "the Space is missing / inputs differ from v1's"),
        ("a retraining that is due", "scheduled (32 days since v1)"),
        ("a pinned version of which nothing is published", "first version"),
        ("a pinned older version", "v2 -> v1"),
        ("a pinned version that its gate rejected", "v1 -> v2"),
        ("a paused Space that served nothing", "none -> v2"),
        ("nothing is to be released", "v1 -> none"),
        ("a retraining that passed", "v1 -> v2"),
        ("a Space that serves a version which is gone", "v9 -> v1"),
        ("git went back to published inputs", "v2 -> v1, already made of these inputs"),
        ("git went forward to published inputs", "v1 -> v2, already made of these inputs"),
        ("published inputs whose images are no longer pushed", "v2 -> v1, already made of these inputs"),
        ("published inputs whose listing is no longer pushed", "v2 -> v1, already made of these inputs"),
        ("another title", "title"),
        ("another emoji and other hardware", "emoji, hardware"),
        ("newer templates", "templates"),
        ("another title while a training runs", "title"),
        (
            "a listing that was not pushed",
            "the images (11a7f8a34e000d82f81ba8e0b68db014.dir) are in git but not in the DVC remote: run `dvc push`, "
            "after `dvc add --no-commit` with `dvc commit` first",
        ),
        (
            "images that were not pushed",
            "4 of 7 images are not in the DVC remote (d.jpg, e.jpg, f.jpg, ...): run `dvc push`",
        ),
        ("a suspended concept in sync", "suspended"),
        ("a suspended concept with other images", "suspended; would train: images +1"),
        (
            "a failed training",
            "training failed (images +1); see `conceptry logs my-cat`, change the inputs, or `conceptry train my-cat`",
        ),
        (
            "a failed first training",
            "training failed (first version); see `conceptry logs my-cat`, change the inputs, or `conceptry train "
            "my-cat`",
        ),
        ("a broken concept.yaml", "c.yaml:4: release: 'x'; c.yaml:4: release: 'x'"),
        ("a base model that is not available", "base model sd-v1-4 is not available here; available: tiny"),
        ("an empty images folder", "the images folder contains no image; add some, then `dvc add` and `dvc push` them"),
        (
            "a rejected version beside a released one",
            "v2 did not pass its gate, v1 stays released; change the inputs, or write `release: v2`",
        ),
        (
            "a rejected first version",
            "v2 did not pass its gate, nothing is released; change the inputs, or write `release: v2`",
        ),
        ("a pinned version that does not exist", "release: v7 is not published; published: v1"),
        ("a concept removed from git", "no longer in git: its Space is paused, its versions stay"),
        ("a deleted Space", "the Space is missing"),
        ("a paused Space", "the Space is paused"),
        ("a Space without a stamp", "the Space has no stamp of what it is rendered from"),
        ("a Space with a stamp of another kind", "the Space has no stamp of what it is rendered from"),
        ("a deleted branch and a deleted tag", "the branch v1 was deleted; the tag fp-1 was deleted"),
        ("a deleted branch while other images are in git", "the branch v1 was deleted / images +1"),
        ("a card of another version", "the card on main describes v9 instead of v1"),
        ("a card of no version", "the card on main describes no version instead of v1"),
        ("a card of a version that is not released", "the card on main describes v1 instead of none"),
        ("a repo that cannot be read", "concept.json cannot be read"),
        ("an unreachable remote", "the DVC remote could not be read: no answer"),
        ("an unreachable remote and published inputs", "v2 -> v1, already made of these inputs"),
        ("everything in sync", "serves v1"),
        ("everything in sync, the card too", "serves v1"),
        ("a deleted branch of a run that is still releasing", "v1 is published, its run is updating the Space"),
        ("nothing released, the Space paused", "nothing is released"),
        ("nothing released, no Space", "nothing is released"),
        ("a training that runs", "is being trained: images +1"),
        ("a version whose run is at the Space", "v2 is published, its run is updating the Space"),
        ("a retraining that is not due yet", "serves v1"),
        ("a retraining without a date", "serves v1"),
        ("a retraining that was made", "serves v2"),
        ("a retraining of a pinned version", "serves v1"),
        ("another gate", "serves v1"),
        ("an archived concept with a paused Space", "archived"),
        ("an archived concept whose Space serves nothing", "archived"),
        ("an archived concept without a Space", "archived"),
    ],
)
def test_cause_in_words(world: str, cause: str) -> None:
    assert " / ".join(action.cause for action in CASES[world][0].listed) == cause
