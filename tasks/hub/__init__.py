"""The Hub: publishing versions, the index of what is there, and Spaces. Only production code over huggingface_hub."""

from tasks.hub.bundle import Lineage, assemble
from tasks.hub.client import HubTarget
from tasks.hub.index import update_main
from tasks.hub.listing import list_actual
from tasks.hub.publish import download, publish
from tasks.hub.refs import find_version, read_versions
from tasks.hub.spaces import pause_space, push_space

__all__ = [
    "HubTarget",
    "Lineage",
    "assemble",
    "download",
    "find_version",
    "list_actual",
    "pause_space",
    "publish",
    "push_space",
    "read_versions",
    "update_main",
]
