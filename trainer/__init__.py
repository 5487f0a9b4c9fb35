"""What runs on the accelerator: `python -m trainer`. Knows no Prefect, DVC, Hub or cloud."""
