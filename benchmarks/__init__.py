"""Measurements against peers and targets; each is one command and prints one JSON object."""
