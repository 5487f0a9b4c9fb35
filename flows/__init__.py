"""The stories that Prefect runs: watch git, train a concept, retrain what is due, release."""
