"""Drawing pictures with a text encoder: one sampler for the trainer, the Space and the endpoint."""
