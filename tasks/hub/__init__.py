"""Hub: publishing of versions, the index of versions, and Spaces, over the client huggingface_hub.

`session` caches the reads of one run, `client` translates errors, `repo_versions` reads versions, `live_state` the
state of all concepts or of one, `find` resolves a version by name, `publish` and `index` write versions and cards,
`judge_again` judges versions by a changed gate,
`main_card` reads cards and recovers changed ones, `repair` resets branches and tags that were moved manually,
`deletion` and `staging` delete, `space_repo` pushes Spaces, `bundle` and `card` assemble a version. `tasks` contains
the Prefect tasks.
"""

from tasks.hub.adoption import adopt, holders
from tasks.hub.bundle import Lineage, assemble
from tasks.hub.client import translate_errors
from tasks.hub.clock import hub_time
from tasks.hub.deletion import delete_concept, delete_versions
from tasks.hub.find import FoundVersion, find_by_ref, pull
from tasks.hub.index import update_main
from tasks.hub.judge_again import judge_again
from tasks.hub.live_state import complete, list_live, read_live
from tasks.hub.main_card import find_card_edits, recover_card
from tasks.hub.publish import download, publish
from tasks.hub.repair import find_moved_refs, repair_refs
from tasks.hub.repo_versions import find_version, read_bytes, read_manifest, read_versions, releases
from tasks.hub.session import HubSession
from tasks.hub.space_access import hide_repos
from tasks.hub.space_repo import RenderedSpace, differing_files, edited_files, pause_space, push_space
from tasks.hub.staging import delete_stale_staging

__all__ = [
    "FoundVersion",
    "HubSession",
    "Lineage",
    "RenderedSpace",
    "adopt",
    "assemble",
    "complete",
    "delete_concept",
    "delete_stale_staging",
    "delete_versions",
    "differing_files",
    "download",
    "edited_files",
    "find_by_ref",
    "find_card_edits",
    "find_moved_refs",
    "find_version",
    "hide_repos",
    "holders",
    "hub_time",
    "judge_again",
    "list_live",
    "pause_space",
    "publish",
    "pull",
    "push_space",
    "read_bytes",
    "read_live",
    "read_manifest",
    "read_versions",
    "recover_card",
    "releases",
    "repair_refs",
    "translate_errors",
    "update_main",
]
