"""How many pictures are held out, and which of them count as one because they look the same.

No TensorFlow here: `tasks` says before a training what will be held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TypeVar

from trainer.data.look_rules import Comparable

MOST = 4
L = TypeVar("L", bound=Comparable)


def held_out_count(different: int, wanted: int | None) -> int:
    """Return how many pictures are held out of `different` ones; two of these always stay to train on.

    Without `wanted` it is about a third, four at most: 1 of 3 and 4, 2 of 5 to 7, 3 of 8 to 10.
    """
    wanted = min(MOST, (different + 1) // 3) if wanted is None else wanted
    return max(0, min(wanted, different - 2))


def alike_groups(looks: Sequence[L]) -> list[int]:
    """Number the groups of pictures that look the same, directly or by way of others; one number for each picture."""
    groups = list(range(len(looks)))
    for one, other in combinations(range(len(looks)), 2):
        if groups[one] != groups[other] and looks[one].is_like(looks[other]):
            joined = groups[other]
            groups = [groups[one] if group == joined else group for group in groups]
    return groups
