"""Git repository with the desired state, read from a bare mirror without a checkout.

`repository` fetches the mirror and reads it at one revision, `concept_history` lists the commits that changed a
concept.
"""

from conceptry.mirror import Mirror
from tasks.git.concept_history import Edit, edits
from tasks.git.repository import (
    find_registries,
    head,
    is_local,
    mirror,
    read_bases,
    read_concepts,
    read_file,
    remote_head,
    resolve,
)

__all__ = [
    "Edit",
    "Mirror",
    "edits",
    "find_registries",
    "head",
    "is_local",
    "mirror",
    "read_bases",
    "read_concepts",
    "read_file",
    "remote_head",
    "resolve",
]
