"""A Hugging Face Hub on this machine: bare git repos and LFS objects on disk, served to the unmodified client.

python -m emulators.hub --root DIR [--host 127.0.0.1] [--port 8600] [--accounts FILE] [--config FILE] [--no-run]

storage, commits, git_objects, lfs  repos on disk, writing and reading git, large files
accounts, context                   who may do what; what every route needs to know about a request
config                              what a starter adds: views of files, the environment of apps
routes/                             the protocol
pages/                              pages for people
apps/                               Spaces and endpoints as processes
webhooks, webhook_events, webhook_delivery
"""
