"""Adapters and Prefect tasks, one package per external system; none of them imports another."""
