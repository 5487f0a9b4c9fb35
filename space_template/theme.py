"""What the page looks like: theme, style sheet, and the HTML that both tabs use. Every string in it is escaped."""

from __future__ import annotations

import html
from urllib.parse import quote

import gradio as gr
from huggingface_hub import constants

from space_template.settings import SpaceSettings

CSS = """
.gradio-container { max-width: 1120px !important; width: 100% !important;
  margin: 0 auto !important; padding: 0 clamp(0px, 100vw - 500px, 1rem) !important; }
.gradio-container > .main { max-width: none !important; padding: 1rem clamp(.75rem, 100vw - 500px, 2rem) !important; }
.top { display: flex; align-items: center; gap: 1rem; padding: .9rem 0 .3rem; }
.top .emoji { font-size: 2rem; line-height: 1; width: 3.4rem; height: 3.4rem; border-radius: 16px; flex: none;
  display: grid; place-items: center; overflow: hidden; background: var(--background-fill-primary);
  border: 1px solid var(--border-color-primary); }
.top h1 { margin: 0; font-size: 1.55rem; line-height: 1.2; font-weight: 700; overflow-wrap: anywhere; }
.chips { display: flex; flex-wrap: wrap; gap: .35rem; margin-top: .35rem; }
.chip { font-size: .8rem; line-height: 1.5; padding: .05rem .6rem; border-radius: 99px; overflow-wrap: anywhere;
  border: 1px solid var(--border-color-primary); background: var(--background-fill-primary);
  color: var(--body-text-color-subdued); text-decoration: none; }
.chip.token { font-family: var(--font-mono); color: var(--primary-600); border-color: var(--primary-300); }
.dark .chip.token { color: var(--primary-300); border-color: var(--primary-700); }
.sheet { border: 1px solid var(--border-color-primary); border-radius: 14px; padding: 1rem !important;
  background: var(--background-fill-primary); }
#desk { display: grid; grid-template: "ask show" auto "how show" 1fr / minmax(0, 4fr) minmax(0, 6fr); }
#desk > * { min-width: 0 !important; align-self: start; }
#desk .ask { grid-area: ask; } #desk .show { grid-area: show; } #desk .how { grid-area: how; }
#draw, #create { font-weight: 650; }
.form { background: transparent !important; border: 0 !important; box-shadow: none !important; overflow: visible; }
.sheet .block { overflow: visible !important; }
.sheet span[data-testid="block-info"] { margin-bottom: .3rem; }
.caption-label { font-size: .72rem !important; padding: .05rem .45rem !important; max-width: 100% !important; }
.sheet h3 { margin: 0 !important; font-size: 1.05rem; }
.token-button { font-family: var(--font-mono) !important; flex: 0 1 auto !important; width: auto !important;
  min-width: 0 !important; align-self: flex-start; max-width: 100%; overflow-wrap: anywhere; white-space: normal; }
#gallery .grid-wrap, #other .grid-wrap { max-height: none !important; min-height: 0 !important; }
/* Over the pictures, not on them: names above, progress on a veil; why nothing was drawn is said below them. */
label.float { position: static !important; width: fit-content !important; padding: 0 0 .4rem !important;
  border: 0 !important; background: transparent !important; }
.icon-button-wrapper { background: var(--background-fill-primary) !important; border-radius: 8px !important; }
#gallery .wrap:has(> .progress-level) { background: var(--background-fill-primary); opacity: .82; }
#gallery .wrap:has(> .error) { display: none; }
#first img { width: 100%; height: 100%; object-fit: contain; }
.line { min-height: 1.4rem; color: var(--body-text-color-subdued); font-size: .9rem; margin: 0;
  overflow-wrap: anywhere; }
.line.bad { color: #dc2626; } .dark .line.bad { color: #f87171; }
.learned:not(:has(img)) { display: none; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .4rem 1.1rem; margin: 0; font-size: .95rem; }
.facts dt { color: var(--body-text-color-subdued); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.notice { padding: .75rem 1rem; border-radius: 12px; overflow-wrap: anywhere;
  border: 1px solid var(--border-color-primary); border-left-width: 4px; background: var(--background-fill-primary); }
.notice.bad { border-left-color: #dc2626; }
.notice.good { border-left-color: #16a34a; }
.notice.busy { border-left-color: var(--primary-500); }
.notice code, .lead code { overflow-wrap: anywhere; white-space: pre-wrap; font-size: .85em; }
.lead { margin: .2rem 0 .4rem; overflow-wrap: anywhere; }
.lead small { color: var(--body-text-color-subdued); }
.steps + .notice { margin-top: .8rem; }
.steps { list-style: none; display: grid; gap: .45rem; margin: .6rem 0 0; padding: 0; }
.steps li { display: flex; gap: .6rem; align-items: baseline; overflow-wrap: anywhere; }
.steps li::before { content: "○"; flex: none; width: 1.1rem; text-align: center; }
.steps li.done::before { content: "✓"; color: #16a34a; font-weight: 700; }
.steps li.bad::before { content: "✕"; color: #dc2626; font-weight: 700; }
.steps li.now::before { content: "●"; color: var(--primary-500); animation: breathe 1.2s ease-in-out infinite; }
.steps li.todo { color: var(--body-text-color-subdued); }
@keyframes breathe { 50% { opacity: .25; } }
@media (prefers-reduced-motion: reduce) { .steps li.now::before { animation: none; } }
.endpoints { width: 100%; border: 0 !important; border-collapse: collapse; font-size: .92rem; }
.endpoints th { text-align: left; font-weight: 600; color: var(--body-text-color-subdued); }
.endpoints tr { border: 0 !important; }
.endpoints :is(th, td):not(:last-child) { overflow-wrap: break-word !important; }
.bottom { align-items: flex-end !important; }
.endpoints th, .endpoints td { padding: .4rem .6rem .4rem 0 !important; border-width: 0 0 1px !important;
  border-color: var(--border-color-primary) !important;
  overflow-wrap: anywhere; vertical-align: top; }
.price { font-size: 1.05rem; margin: .2rem 0; }
@media (max-width: 780px) {
  #desk { grid-template: "ask" auto "show" auto "how" auto / minmax(0, 1fr); }
}
@media (max-width: 640px) {
  .top { gap: .7rem; } .top h1 { font-size: 1.3rem; } .sheet { padding: .75rem !important; }
  .facts { grid-template-columns: 1fr; gap: 0; } .facts dd { margin-bottom: .5rem; }
}
"""


def theme() -> gr.Theme:
    """Build the theme: plain, violet, and without fonts from the web."""
    return gr.themes.Default(
        primary_hue="violet",
        neutral_hue="slate",
        radius_size="lg",
        font=["ui-sans-serif", "system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        block_border_width="0px",
        block_shadow="none",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_padding="0px",
        input_border_width="1px",
        slider_color="*primary_500",
        button_secondary_background_fill="*neutral_100",
        button_secondary_background_fill_dark="*neutral_800",
        layout_gap="14px",
        form_gap_width="14px",
        block_title_text_weight="600",
        block_label_background_fill="*background_fill_primary",
    )


def header_html(settings: SpaceSettings) -> str:
    """Render the page's header: emoji, title, token and version."""
    version = settings.version or "not published yet"
    where = f"{settings.model_repo} · {version}"
    chip = f'<span class="chip">{html.escape(where)}</span>'
    if settings.published:
        page = f"{constants.ENDPOINT}/{quote(settings.model_repo)}/tree/{quote(str(settings.version), safe='')}"
        chip = f'<a class="chip" href="{html.escape(page)}" target="_blank" rel="noopener">{html.escape(where)}</a>'
    return (
        f'<div class="top"><span class="emoji" aria-hidden="true">{html.escape(settings.emoji)}</span>'
        f"<div><h1>{html.escape(settings.title)}</h1>"
        f'<div class="chips"><span class="chip token">{html.escape(settings.placeholder_token)}</span>{chip}</div>'
        f"</div></div>"
    )


def notice_html(text: str, kind: str = "", *, role: str = "status") -> str:
    """Render a banner; `kind` is good, bad, busy, or empty."""
    return f'<div class="notice {kind}" role="{role}">{html.escape(text)}</div>'


def line_html(text: str, *, bad: bool = False) -> str:
    """Render a quiet line under the pictures, which screen readers read when it changes."""
    kind, role = ("line bad", "alert") if bad else ("line", "status")
    return f'<p class="{kind}" role="{role}">{html.escape(text)}</p>'


def facts_html(pairs: list[tuple[str, str]]) -> str:
    """Render names and values as a definition list."""
    rows = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in pairs)
    return f'<dl class="facts">{rows}</dl>'
