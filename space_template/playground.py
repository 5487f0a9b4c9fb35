"""The Playground: draw with the released version."""

from __future__ import annotations

import html
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from space_template.drawing import ModelUnavailableError, Studio
from space_template.served import Served

MAX_SEED = 2**31 - 1
DEFAULTS = {"tiny": {"steps": 25, "guidance": 3.0, "images": 4}, "sd-v1-4": {"steps": 30, "guidance": 7.5, "images": 1}}


def facts(served: Served) -> list[tuple[str, str]]:
    """What is served, as pairs of a name and a value that people read."""
    loss = served.metrics.get("loss") or {}
    images = served.metrics.get("images") or {}
    pairs = [
        ("Version", f"{served.version or 'none'} of {served.model_repo}"),
        ("Token", " ".join(served.placeholder_tokens)),
        ("Base model", f"{served.base_model}, {served.resolution} px"),
    ]
    if isinstance(loss.get("trained"), (int, float)) and isinstance(loss.get("initializer"), (int, float)):
        change = f"{loss['initializer']:.4f} → {loss['trained']:.4f}"
        if isinstance(loss.get("improvement"), (int, float)):
            change += f" ({loss['improvement']:.0%} lower)"
        pairs.append(("Held-out loss", change))
    if images.get("train") is not None:
        pairs.append(("Pictures", f"{images['train']} trained on, {images.get('held_out', 0)} held out"))
    if served.metrics.get("steps") is not None:
        pairs.append(("Steps", str(served.metrics["steps"])))
    return pairs


def facts_html(served: Served) -> str:
    """The facts as a definition list; everything in it is escaped."""
    rows = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in facts(served))
    return f'<dl class="facts">{rows}</dl>'


def notice_html(served: Served, problem: str | None) -> str:
    """The banner over the Playground, or nothing when all is well."""
    if problem is not None:
        return f'<div class="notice bad" role="alert">{html.escape(problem)}</div>'
    if not served.published:
        return (
            '<div class="notice" role="status">No version is published yet: the base model draws, '
            f"and {html.escape(served.placeholder_token)} means nothing to it.</div>"
        )
    return ""


def build_playground(served: Served, studio: Studio) -> None:
    """Lay the tab out and wire it; to be called inside a `gr.Blocks`."""
    defaults = DEFAULTS.get(served.base_model, DEFAULTS["sd-v1-4"])
    first = f"a photo of {served.placeholder_token}" if served.published else next(iter(served.examples), "")
    words = notice_html(served, None)
    notice = gr.HTML(words, visible=bool(words), elem_id="notice")
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            prompt = gr.Textbox(first, label="Prompt", lines=2, max_length=1000, elem_id="prompt")
            negative = gr.Textbox(
                "", label="Negative prompt", placeholder="what the picture should not show", max_length=1000
            )
            with gr.Row():
                guidance = gr.Slider(1, 15, defaults["guidance"], step=0.5, label="Guidance", min_width=120, buttons=[])
                steps = gr.Slider(1, 100, defaults["steps"], step=1, label="Steps", min_width=120, buttons=[])
            with gr.Row():
                count = gr.Slider(1, 8, defaults["images"], step=1, label="Pictures", min_width=120, buttons=[])
                seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED, min_width=120)
            random_seed = gr.Checkbox(True, label="A new seed each time")
            with gr.Row():
                draw_button = gr.Button("Draw", variant="primary", elem_id="draw", min_width=80)
                stop_button = gr.Button("Stop", elem_id="stop", min_width=80)
        with gr.Column(scale=3, min_width=300):
            gallery = gr.Gallery(
                label="Pictures", format="png", columns=2, object_fit="contain", elem_id="gallery",
                buttons=["download", "download_all", "fullscreen"],
            )  # fmt: skip
            message = gr.HTML("", elem_id="message")
    if served.examples:
        gr.Examples([[example] for example in served.examples], [prompt], label="Examples")
    with gr.Accordion("What is served", open=True), gr.Row(equal_height=False):
        # Columns wrap on a phone; what lies bare in a row is squeezed.
        with gr.Column(min_width=260):
            gr.HTML(facts_html(served))
        with gr.Column(min_width=220):
            learned = gr.Image(label="Learned", visible=False, interactive=False, format="png", buttons=["fullscreen"])
        with gr.Column(min_width=220):
            before = gr.Image(
                label="The initializer, same seeds",
                visible=False,
                interactive=False,
                format="png",
                buttons=["fullscreen"],
            )

    def draw(
        prompt: str,
        negative_prompt: str = "",
        guidance_scale: float = float(defaults["guidance"]),
        steps: float = float(defaults["steps"]),
        num_images: float = float(defaults["images"]),
        seed: float = 0,
        new_seed: bool = False,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - Gradio finds it by its default
    ) -> Iterator[tuple[Any, Any, Any]]:
        """Draw pictures. The same prompt, parameters and seed give the same pictures."""
        used = secrets.randbelow(MAX_SEED) if new_seed else int(seed)
        if not prompt.strip():
            raise gr.Error("Write a prompt first.", title="Nothing to draw")
        progress((0, int(steps)), desc="Drawing" if studio.ready else "Loading the model")
        yield gr.skip(), used, "<p>Drawing…</p>"
        with _errors_on_the_page():
            job = studio.begin(
                prompt,
                negative_prompt=negative_prompt,
                num_images=int(num_images),
                steps=int(steps),
                guidance_scale=float(guidance_scale),
                seed=used,
            )
            try:
                for step, of in job.steps():
                    progress((step, of), desc="Drawing")
                    yield gr.skip(), gr.skip(), gr.skip()  # here Stop takes hold
                pictures = job.result()
            finally:
                job.stop()
        captions = [f"seed {used + index}" for index in range(len(pictures))]
        note = f"<p>{len(pictures)} × {pictures.shape[1]} px, {int(steps)} steps, seed {used}.</p>"
        yield list(zip(pictures, captions, strict=True)), used, note

    drawing = gr.on(
        [draw_button.click, prompt.submit],
        draw,
        [prompt, negative, guidance, steps, count, seed, random_seed],
        [gallery, seed, message],
        api_name="draw",
        api_description="Draw pictures with the released version; the same seed gives the same pictures.",
        concurrency_limit=1,
        concurrency_id="model",
        show_progress_on=gallery,
    )
    stop_button.click(
        lambda: "<p>Stopped.</p>", None, message, cancels=[drawing], queue=False, api_visibility="private"
    )

    def show_loaded() -> tuple[Any, Any, Any]:
        try:
            loaded = studio.wait()
        except ModelUnavailableError as error:
            return gr.HTML(notice_html(served, str(error)), visible=True), gr.skip(), gr.skip()
        return (
            gr.skip(),
            gr.Image(str(loaded.grid), visible=True) if loaded.grid else gr.skip(),
            gr.Image(str(loaded.initializer_grid), visible=True) if loaded.initializer_grid else gr.skip(),
        )

    context = gr.context.Context.root_block
    context.load(show_loaded, None, [notice, learned, before], api_visibility="private", show_progress="hidden")


@contextmanager
def _errors_on_the_page() -> Iterator[None]:
    """Turn what people can mend into a message on the page."""
    try:
        yield
    except (ModelUnavailableError, ValueError) as error:
        raise gr.Error(html.escape(str(error)), title="Cannot draw this") from error
