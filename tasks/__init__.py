"""Prefect tasks, one place for each outside system; none of them imports another."""
