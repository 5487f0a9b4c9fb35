"""Prefect flows: watch, train_concept, release, reap and apply_plan, and the reconcile that they share."""
