"""The git repository that says what should exist, read from a bare mirror: nothing is ever checked out.

`repository` makes the mirror and reads it at one revision, `history` reads what became of a concept.
"""

from tasks.git.history import Edit, edits
from tasks.git.repository import head, is_local, mirror, read_concepts, read_file, remote_head, resolve

__all__ = ["Edit", "edits", "head", "is_local", "mirror", "read_concepts", "read_file", "remote_head", "resolve"]
