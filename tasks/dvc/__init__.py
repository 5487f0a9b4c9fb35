"""The pictures: what DVC's remote holds for a git revision, read without a checkout.

`listing` turns images.dvc into names and md5s, `images` fetches them, `remote` is the one place that talks to the
storage, `local` is for a person's own clone. DVC checks too little (a shortened listing or a corrupt object is
delivered silently), so every md5 is checked here, the listing's own too.
"""

from tasks.dvc.clone import add_images, add_to_pipeline
from tasks.dvc.images import fetch_images
from tasks.dvc.listing import known_names, list_cached, list_images
from tasks.dvc.remote import Remote, open_remote

__all__ = [
    "Remote",
    "add_images",
    "add_to_pipeline",
    "fetch_images",
    "known_names",
    "list_cached",
    "list_images",
    "open_remote",
]
