"""The Space of a concept: the Gradio app, rendered into a folder. Pushing the folder is a matter of tasks.hub."""

from tasks.space.render import render_space, templates_digest

__all__ = ["render_space", "templates_digest"]
