"""The number that says which recipe a token was trained with."""

RECIPE = 1
"""Raised whenever the same pictures and settings would train another result; part of every training fingerprint."""
