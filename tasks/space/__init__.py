"""Rendering of a concept's Space, the Gradio app, to a folder, which tasks.hub pushes."""

from tasks.space.render import (
    TEMPLATES_RECORD,
    TEMPLATES_REVISION,
    place_in_space,
    render_space,
    templates_record,
)

__all__ = ["TEMPLATES_RECORD", "TEMPLATES_REVISION", "place_in_space", "render_space", "templates_record"]
