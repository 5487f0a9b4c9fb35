"""Helpers that several test modules share; none of them holds a test."""
