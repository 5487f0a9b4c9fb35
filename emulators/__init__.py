"""The clouds on a laptop: servers that the production clients talk to instead of the real ones."""
