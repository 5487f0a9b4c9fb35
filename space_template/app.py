"""The Space of a concept: draw with the released version, or deploy it.

    python space_template/app.py        # as it lies in the repo
    python app.py                       # in a rendered Space

Reads settings.json beside this file; no value of it is ever pasted into code.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from space_template.deploy import Deploy
from space_template.loading import base_dir_of_environment
from space_template.model_worker import ModelWorker
from space_template.playground import Playground
from space_template.settings import SpaceSettings, read_settings
from space_template.theme import CSS, header_html, theme

SETTINGS = Path(__file__).parent / "settings.json"


def build(settings: SpaceSettings, worker: ModelWorker) -> gr.Blocks:
    """Build the page: a header and two tabs, with a queue of at most 32 requests."""
    with gr.Blocks(title=settings.title, analytics_enabled=False) as page:
        gr.HTML(header_html(settings))
        with gr.Tab("Playground"):
            Playground(settings, worker)
        with gr.Tab("Deploy"):
            Deploy(settings)
    return page.queue(max_size=32)


def main() -> None:
    """Serve the page. Address and port come from GRADIO_SERVER_NAME and GRADIO_SERVER_PORT."""
    settings = read_settings(SETTINGS)
    worker = ModelWorker(settings, base_dir=base_dir_of_environment())
    worker.start()
    build(settings, worker).launch(
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
