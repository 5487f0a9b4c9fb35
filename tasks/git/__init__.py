"""Git repository with the desired state, read from a bare mirror without a checkout.

`repository` fetches the mirror and reads it at one revision, `concept_history` lists the commits that changed a
concept.
"""

from tasks.git.concept_history import Edit, edits
from tasks.git.repository import head, is_local, mirror, read_concepts, read_file, remote_head, resolve

__all__ = ["Edit", "edits", "head", "is_local", "mirror", "read_concepts", "read_file", "remote_head", "resolve"]
