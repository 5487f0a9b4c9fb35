"""The commands with their options. Bodies import what they use: see the docstring of cli."""
