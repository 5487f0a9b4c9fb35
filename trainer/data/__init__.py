"""From the pictures and sentences of a concept to the batches that a training step sees."""
