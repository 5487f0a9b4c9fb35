"""The clouds on one machine, for the unmodified clients: a Hugging Face Hub, and Vertex AI with Cloud Storage."""
