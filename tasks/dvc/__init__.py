"""Images in the DVC remote of a git revision, read without a checkout.

`image_listing` resolves images.dvc to names and md5s, `images` fetches the files, `remote` is the only module that
accesses the storage, `clone` runs DVC in the user's clone. DVC delivers a truncated listing or a corrupt object without
an error, so every md5 is checked here, that of the listing included.
"""

from tasks.dvc.clone import add_images, add_to_pipeline, cache_folders
from tasks.dvc.image_listing import known_names, list_cached, list_images
from tasks.dvc.images import fetch_images
from tasks.dvc.remote import Remote, open_remote

__all__ = [
    "Remote",
    "add_images",
    "add_to_pipeline",
    "cache_folders",
    "fetch_images",
    "known_names",
    "list_cached",
    "list_images",
    "open_remote",
]
