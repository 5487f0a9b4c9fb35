"""`conceptry demo`: the story of a concept, from pictures in git to a served version and back, on this machine alone.

story.py      the chapters
person.py     the person in it, who types git, dvc and conceptry
witness.py    what really happened, asked of the Prefect server and the Hub
telling.py    what is printed, and the table at the end
subjects.py   what is taught
"""

from pathlib import Path


def run(root: Path, *, fresh: bool) -> int:
    """Tell the story in `root` and return the exit code: 0 when everything happened as told.

    Args:
        root: the scratch folder; it is kept.
        fresh: delete what an earlier demo left there, instead of refusing.
    """
    from local.demo.run import perform

    return perform(root, fresh=fresh)
