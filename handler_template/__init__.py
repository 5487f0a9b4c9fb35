"""A version's Inference Endpoint handler; handler.py reads settings.json beside it."""
