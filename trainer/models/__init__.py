"""The parts of a Stable Diffusion model, as functions over frozen weights; shapes stand in each module."""
