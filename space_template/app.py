"""The Space of a concept: draw with the released version, or deploy it.

    python space_template/app.py        # as it lies in the repo
    python app.py                       # in a rendered Space

Reads settings.json beside this file; no value of it is ever pasted into code.
"""

from __future__ import annotations

import html
from pathlib import Path

import gradio as gr

from space_template.deploy import build_deploy
from space_template.drawing import Studio, base_dir_of_environment
from space_template.playground import build_playground
from space_template.served import Served, read_settings

SETTINGS = Path(__file__).parent / "settings.json"
CSS = """
.gradio-container { max-width: 1080px !important; margin: 0 auto !important; }
.header { display: flex; align-items: center; gap: 1rem; padding: .5rem 0; }
.header .emoji { font-size: 2.6rem; line-height: 1; }
.header h1 { margin: 0; font-size: 1.6rem; overflow-wrap: anywhere; }
.header p { margin: .15rem 0 0; color: var(--body-text-color-subdued); overflow-wrap: anywhere; }
#gallery .grid-wrap { max-height: none !important; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1rem; margin: 0; }
.facts dt { color: var(--body-text-color-subdued); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.notice { padding: .7rem 1rem; border-radius: 8px; border: 1px solid var(--border-color-primary);
          background: var(--background-fill-secondary); overflow-wrap: anywhere; }
.notice.bad { border-color: #dc2626; }
.notice.good { border-color: #16a34a; }
"""


def theme() -> gr.Theme:
    """The look, without fonts from the web."""
    fonts = ["ui-sans-serif", "system-ui", "sans-serif"]
    return gr.themes.Soft(primary_hue="violet", secondary_hue="amber", neutral_hue="slate", font=fonts)


def header_html(served: Served) -> str:
    """Emoji, title and what is served; everything in it is escaped."""
    line = f"{served.placeholder_token} · {served.model_repo} · {served.version or 'not published yet'}"
    return (
        f'<div class="header"><span class="emoji" aria-hidden="true">{html.escape(served.emoji)}</span>'
        f"<div><h1>{html.escape(served.title)}</h1><p>{html.escape(line)}</p></div></div>"
    )


def build(served: Served, studio: Studio) -> gr.Blocks:
    """The whole page."""
    with gr.Blocks(title=served.title, analytics_enabled=False) as page:
        gr.HTML(header_html(served))
        with gr.Tab("Playground"):
            build_playground(served, studio)
        with gr.Tab("Deploy on Endpoint"):
            build_deploy(served)
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
