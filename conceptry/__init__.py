"""The pure core: what a concept is, what a version is, and the plan that leads from one to the other. No I/O."""
