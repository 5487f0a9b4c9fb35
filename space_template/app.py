"""The Space of a concept: draw with the released version, or deploy it.

    python space_template/app.py        # as it lies in the repo
    python app.py                       # in a rendered Space

Reads settings.json beside this file; no value of it is ever pasted into code.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from space_template.deploy import Deploy
from space_template.drawing import Studio
from space_template.loading import base_dir_of_environment
from space_template.look import CSS, header_html, theme
from space_template.playground import Playground
from space_template.served import Served, read_settings

SETTINGS = Path(__file__).parent / "settings.json"


def build(served: Served, studio: Studio) -> gr.Blocks:
    """The whole page."""
    with gr.Blocks(title=served.title, analytics_enabled=False) as page:
        gr.HTML(header_html(served))
        with gr.Tab("Playground"):
            Playground(served, studio)
        with gr.Tab("Deploy"):
            Deploy(served)
    return page.queue(max_size=32)


def main() -> None:
    """Serve the page. Address and port come from GRADIO_SERVER_NAME and GRADIO_SERVER_PORT."""
    served = read_settings(SETTINGS)
    studio = Studio(served, base_dir=base_dir_of_environment())
    studio.start()
    build(served, studio).launch(
        theme=theme(),
        css=CSS,
        ssr_mode=False,
        show_error=True,
        # A history of runs would keep what was typed into the Deploy tab.
        run_history=False,
        footer_links=["api", "gradio", "settings"],
    )


if __name__ == "__main__":
    main()
