"""The weights of base models: which there are, how they are fetched and verified, and how they are read."""
