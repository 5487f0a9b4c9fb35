"""The Hub: publishing versions, the index of what is there, and Spaces. Only production code over huggingface_hub."""

from tasks.hub.bundle import Lineage, assemble
from tasks.hub.client import HubTarget
from tasks.hub.index import update_main
from tasks.hub.listing import list_actual
from tasks.hub.publish import download, publish
from tasks.hub.refs import find_version, read_bytes, read_versions, releases
from tasks.hub.repair import delete_concept, delete_version, differing_files, find_moved, mend_refs
from tasks.hub.spaces import pause_space, push_space, space_files

__all__ = [
    "HubTarget",
    "Lineage",
    "assemble",
    "delete_concept",
    "delete_version",
    "differing_files",
    "download",
    "find_moved",
    "find_version",
    "list_actual",
    "mend_refs",
    "pause_space",
    "publish",
    "push_space",
    "read_bytes",
    "read_versions",
    "releases",
    "space_files",
    "update_main",
]
