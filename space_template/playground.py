"""The Playground: draw with the released version, and beside it with an earlier one."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import gradio as gr

from space_template.loading import ModelUnavailableError
from space_template.messages import captioned, errors_on_the_page, first_notice, told
from space_template.model_worker import ModelWorker
from space_template.request import (
    LINK_JS,
    MAX_GUIDANCE,
    MAX_PICTURES,
    MAX_PROMPT,
    MAX_SEED,
    MAX_STEPS,
    DrawingRequest,
    defaults,
    restored,
    sizes,
)
from space_template.settings import SpaceSettings, facts
from space_template.theme import facts_html, line_html

NO_COMPARISON = ("nothing", "")
INSERT_JS = "(prompt, token) => prompt.includes(token) ? prompt : (prompt.trim() + ' ' + token).trim()"


class Playground:
    """The tab's components, and what happens between them; to be made inside a `gr.Blocks`."""

    def __init__(self, settings: SpaceSettings, worker: ModelWorker) -> None:
        self.settings = settings
        self.worker = worker
        self.usual = defaults(settings)
        self.notice = gr.HTML(first_notice(settings, worker), elem_id="notice")
        # A grid: beside the pictures on a desk, on a phone the pictures come before the settings.
        with gr.Column(elem_id="desk"):
            with gr.Column(elem_classes="sheet ask"):
                self._lay_out_prompt()
            with gr.Column(elem_classes="sheet show"):
                self._lay_out_pictures()
            with gr.Column(elem_classes="sheet how"):
                self._lay_out_settings()
        if settings.examples:
            gr.Examples([[example] for example in settings.examples], [self.prompt], label="Examples")
        self._lay_out_facts()
        self._wire()

    def _lay_out_prompt(self) -> None:
        self.prompt = gr.Textbox(self.usual.prompt, label="Prompt", lines=3, max_length=MAX_PROMPT, elem_id="prompt")
        token = gr.Button(
            self.settings.placeholder_token, size="sm", elem_classes="token-button", visible=self.settings.published
        )
        token.click(None, [self.prompt, token], self.prompt, js=INSERT_JS, api_visibility="private")
        self.negative = gr.Textbox(
            "", label="Negative prompt", placeholder="what the picture should not show", max_length=MAX_PROMPT
        )
        with gr.Row():
            self.draw_button = gr.Button("Draw", variant="primary", elem_id="draw", min_width=80, scale=3)
            self.stop_button = gr.Button("Stop", elem_id="stop", min_width=80, scale=1, interactive=False)

    def _lay_out_settings(self) -> None:
        usual, offered = self.usual, sizes(self.settings)
        with gr.Row():
            self.guidance = gr.Slider(
                1, MAX_GUIDANCE, usual.guidance, step=0.5, label="Guidance", min_width=168, buttons=[]
            )
            self.steps = gr.Slider(1, MAX_STEPS, usual.steps, step=1, label="Steps", min_width=168, buttons=[])
        with gr.Row():
            self.count = gr.Slider(1, MAX_PICTURES, usual.pictures, step=1, label="Pictures", min_width=168, buttons=[])
            self.size = gr.Dropdown(offered, value=usual.size, label="Size", min_width=168, elem_id="size")
        with gr.Row():
            self.seed = gr.Number(
                usual.seed, label="Seed", precision=0, minimum=0, maximum=MAX_SEED, min_width=168, elem_id="seed"
            )
            self.compare = gr.Dropdown(
                [NO_COMPARISON], value="", label="Compare with", min_width=168, elem_id="compare", interactive=False
            )
        self.new_seed = gr.Checkbox(True, label="A new seed each time", elem_id="new-seed")

    def _lay_out_pictures(self) -> None:
        shown = {"format": "png", "columns": 2, "object_fit": "contain", "interactive": False}
        with gr.Row(equal_height=False):
            with gr.Column(min_width=240):
                self.gallery = gr.Gallery(
                    label=self.settings.version or "Pictures", elem_id="gallery", height="auto",
                    buttons=["download", "download_all", "fullscreen"], **shown,
                )  # fmt: skip
            with gr.Column(min_width=240, visible=False) as self.other_column:
                self.other = gr.Gallery(elem_id="other", height="auto", buttons=["download", "fullscreen"], **shown)
        self.line = gr.HTML(line_html(""), elem_id="message")
        self.drawn = gr.JSON(visible=False)
        self.link = gr.Textbox(
            label="Link to these pictures", buttons=["copy"], interactive=False, visible=False, elem_id="link"
        )

    def _lay_out_facts(self) -> None:
        with gr.Column(elem_classes="sheet"), gr.Row(equal_height=False):
            # Columns wrap on a phone; what lies bare in a row is squeezed.
            with gr.Column(min_width=260):
                gr.HTML(facts_html(facts(self.settings)))
            self.grids = {}
            for name, label in (("grid", "What it learned"), ("initializer", "What it started from, same seeds")):
                with gr.Column(min_width=220, elem_classes="learned"):
                    self.grids[name] = gr.Image(
                        label=label, visible=False, interactive=False, format="png", buttons=["fullscreen"]
                    )

    def _wire(self) -> None:
        request = [self.prompt, self.negative, self.guidance, self.steps, self.count, self.seed, self.size]
        # A visitor who waits for the drawings of others can stop as well.
        waiting = gr.on(
            [self.draw_button.click, self.prompt.submit],
            lambda: (line_html("Waiting for its turn …"), gr.update(interactive=True)),
            None,
            [self.line, self.stop_button],
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )
        drawing = waiting.then(
            self._draw,
            [*request, self.compare, self.new_seed],
            [self.gallery, self.other_column, self.other, self.seed, self.line, self.stop_button, self.drawn],
            api_visibility="private",
            concurrency_limit=1,
            concurrency_id="model",
            show_progress_on=[self.gallery],
        )
        drawn = drawing.success(None, self.drawn, self.link, js=LINK_JS, api_visibility="private", queue=False)
        drawn.then(lambda: gr.update(visible=True), None, self.link, api_visibility="private", queue=False)
        drawing.then(
            lambda: gr.update(interactive=False), None, self.stop_button, api_visibility="private", queue=False
        )
        self.stop_button.click(
            lambda: (line_html("Stopped."), gr.update(interactive=False)),
            None,
            [self.line, self.stop_button],
            cancels=[drawing],
            queue=False,
            api_visibility="private",
        )
        kept = [self.seed, self.new_seed]
        self.gallery.select(self._keep_seed, None, kept, api_visibility="private", queue=False)
        self._wire_api()
        page = gr.context.Context.root_block
        page.load(
            self._restore,
            None,
            [*request, self.new_seed],
            api_visibility="private",
            queue=False,
            show_progress="hidden",
        )
        page.load(
            self._show_loaded, None, [self.notice, self.gallery, self.compare, *self.grids.values()],
            api_visibility="private", show_progress="hidden", concurrency_limit=32,
        )  # fmt: skip

    def _wire_api(self) -> None:
        """Wire what programs call: the same drawing, without what only the page needs."""
        gr.Button(visible=False).click(
            self._draw_for_programs,
            [self.prompt, self.negative, self.guidance, self.steps, self.count, self.seed, self.size],
            [self.gallery, self.seed],
            api_name="draw",
            api_description="Draw pictures with the released version. The same seed gives the same pictures; null "
            "takes a new one. Returns the pictures, each captioned with its seed, and the seed of the first.",
            concurrency_limit=1,
            concurrency_id="model",
        )

    def _draw(
        self, prompt: str, negative: str, guidance: float, steps: float, pictures: float, seed: float | None,
        size: str, compare: str, new_seed: bool, progress: gr.Progress = gr.Progress(),  # noqa: B008 - Gradio finds it
    ) -> Iterator[tuple[Any, ...]]:  # fmt: skip
        """Draw, and tell how far it is, or why not."""
        used = secrets.randbelow(MAX_SEED) if new_seed or seed is None else int(seed)
        request = DrawingRequest(
            prompt, negative, float(guidance), int(steps), int(pictures), used, size, compare or ""
        )
        nothing = gr.skip()
        progress((0, request.steps), desc="Drawing" if self.worker.ready else "Loading the model")
        yield nothing, nothing, nothing, used, line_html("Drawing …"), gr.update(interactive=True), nothing
        try:
            yield from self._drawing(request, progress)
        except gr.Error as error:
            # Gradio's own message goes away, and after it nothing else on the page would change.
            line = line_html(told(error), bad=True)
            yield nothing, nothing, nothing, nothing, line, gr.update(interactive=False), nothing
            raise

    def _drawing(self, request: DrawingRequest, progress: gr.Progress) -> Iterator[tuple[Any, ...]]:
        nothing, began = gr.skip(), time.monotonic()
        drawn: list[Any] = []
        for version in ("", request.compare) if request.compare else ("",):
            job, label = self._begin(request, version), version or self.settings.version or ""
            try:
                for step, of in job.steps():
                    progress((step, of), desc=f"Drawing {label}".rstrip())
                    yield (nothing,) * 7  # here Stop takes hold
                with errors_on_the_page():
                    drawn.append(captioned(job.result(), request))
            finally:
                job.stop()
        words = (
            f"{request.size.replace('x', ' × ')} px, {request.steps} steps, {time.monotonic() - began:.1f} s, "
            f"seed {request.seed}"
        )
        other = gr.Gallery(drawn[1], label=request.compare) if request.compare else nothing
        ours = gr.Gallery(drawn[0], label=self.settings.version or "Pictures")
        yield (
            ours, gr.update(visible=bool(request.compare)), other, request.seed, line_html(words),
            gr.update(interactive=False), asdict(request),
        )  # fmt: skip

    def _draw_for_programs(
        self,
        prompt: str,
        negative_prompt: str = "",
        guidance_scale: float | None = None,
        steps: float | None = None,
        num_images: float = 1,
        seed: float | None = None,
        size: str | None = None,
    ) -> tuple[Any, int]:
        """Draw pictures; the same prompt, parameters and seed give the same pictures."""
        usual = self.usual
        request = DrawingRequest(
            prompt,
            negative_prompt or "",
            usual.guidance if guidance_scale is None else float(guidance_scale),
            usual.steps if steps is None else int(steps),
            int(num_images or 1),
            secrets.randbelow(MAX_SEED) if seed is None else int(seed),
            size or usual.size,
        )
        with errors_on_the_page():
            job = self._begin(request, "")
            for _ in job.steps():
                pass
            return captioned(job.result(), request), request.seed

    def _begin(self, request: DrawingRequest, version: str) -> Any:
        if not request.prompt.strip():
            raise gr.Error("Write a prompt first.", title="Nothing to draw", print_exception=False)
        with errors_on_the_page():
            return self.worker.begin(request, version)

    def _keep_seed(self, selected: gr.SelectData) -> tuple[Any, Any]:
        """Keep the seed of the picture that the visitor chose."""
        caption = (selected.value or {}).get("caption") or ""
        word, _, seed = caption.partition(" ")
        return (int(seed), False) if word == "seed" and seed.isdigit() else (gr.skip(), gr.skip())

    def _restore(self, visit: gr.Request) -> tuple[Any, ...]:
        """Fill the page from a shared link."""
        request = restored(dict(visit.query_params), self.settings)
        if request is None:
            return tuple(gr.skip() for _ in range(8))
        return (
            request.prompt, request.negative, request.guidance, request.steps, request.pictures, request.seed,
            request.size, False,
        )  # fmt: skip

    def _show_loaded(self, visit: gr.Request) -> Iterator[tuple[Any, ...]]:
        """Show the loading progress, then what needs the loaded model."""
        rest = [gr.skip() for _ in range(4)]
        for fetching in self.worker.progress():
            yield first_notice(self.settings, self.worker, fetching), *rest
        try:
            loaded = self.worker.wait()
        except ModelUnavailableError:
            yield first_notice(self.settings, self.worker), *rest
            return
        names = list(loaded.versions)
        wanted = visit.query_params.get("compare", "")
        compare = gr.Dropdown([NO_COMPARISON, *names], value=wanted if wanted in names else "", interactive=bool(names))
        samples = [(loaded.pictures[name], "sample") for name in sorted(loaded.pictures) if name.isdigit()]
        gallery = gr.Gallery(samples[: self.usual.pictures]) if samples else gr.skip()
        grids = (
            gr.Image(loaded.pictures[name], visible=True) if name in loaded.pictures else gr.skip()
            for name in self.grids
        )
        yield first_notice(self.settings, self.worker), gallery, compare, *grids
