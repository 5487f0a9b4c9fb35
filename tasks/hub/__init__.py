"""The Hub: publishing versions, the index of what is there, and Spaces. Only production code over huggingface_hub.

`session` is one run's conversation with it, `client` translates its errors, `refs` reads versions, `listing` the state
of all concepts or of one, `find` a version by name, `publish` and `index` write versions and cards, `repair` resets
what was moved by hand, `spaces` pushes Spaces, `bundle` and `card` put a version together. `tasks` are the steps of a
run as Prefect shows them.
"""

from tasks.hub.bundle import Lineage, assemble
from tasks.hub.client import translate_errors
from tasks.hub.delete import delete_concept, delete_version
from tasks.hub.find import FoundVersion, find_by_ref, pull
from tasks.hub.index import update_main
from tasks.hub.listing import list_live, read_live
from tasks.hub.publish import download, publish
from tasks.hub.refs import find_version, read_bytes, read_manifest, read_versions, releases
from tasks.hub.repair import find_moved_refs, repair_refs
from tasks.hub.session import HubSession
from tasks.hub.spaces import RenderedSpace, differing_files, edited_files, pause_space, push_space

__all__ = [
    "FoundVersion",
    "HubSession",
    "Lineage",
    "RenderedSpace",
    "assemble",
    "delete_concept",
    "delete_version",
    "differing_files",
    "download",
    "edited_files",
    "find_by_ref",
    "find_moved_refs",
    "find_version",
    "list_live",
    "pause_space",
    "publish",
    "pull",
    "push_space",
    "read_bytes",
    "read_live",
    "read_manifest",
    "read_versions",
    "releases",
    "repair_refs",
    "translate_errors",
    "update_main",
]
