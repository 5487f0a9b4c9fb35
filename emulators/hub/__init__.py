"""A Hugging Face Hub on a laptop: bare git repos and LFS objects on disk, spoken to by the unmodified client.

    python -m emulators.hub --root DIR [--host 127.0.0.1] [--port 8600] [--accounts FILE] [--no-run]

Where to look: `storage` (repos on disk), `history` (reading git), `commits` (writing git), `lfs` (large files),
`accounts` (who may do what), `access` (what a route needs to know), `routes_*` (the protocol), `apps` (Spaces and
endpoints as processes), `pages` (for people).
"""
