"""The Space of a concept: the Gradio app, rendered into a folder. Pushing the folder is a matter of tasks.hub."""

from tasks.space.render import (
    TEMPLATES_RECORD,
    TEMPLATES_REVISION,
    place_in_space,
    render_space,
    templates_record,
)

__all__ = ["TEMPLATES_RECORD", "TEMPLATES_REVISION", "place_in_space", "render_space", "templates_record"]
