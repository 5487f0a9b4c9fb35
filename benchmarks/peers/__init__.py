"""Programs of others, each run in an environment of its own; nothing here is imported."""
