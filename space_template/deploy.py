"""The Deploy tab: put the released version on an Inference Endpoint of one's own account, and look after it."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr
from huggingface_hub import InferenceEndpoint
from PIL import Image

from space_template import endpoints
from space_template.endpoints import Order, Progress, Refused
from space_template.machines import Hardware, machines, pick, price_html
from space_template.settings import SpaceSettings
from space_template.theme import notice_html

STATES = {
    "pending": "Waiting for a machine",
    "initializing": "Starting: packages and the model are loaded",
    "updating": "Being updated",
    "running": "Running",
    "paused": "Paused",
    "scaledToZero": "Asleep until somebody asks",
    "failed": "Failed",
    "updateFailed": "The update failed",
}
# The first argument is the endpoint's name; without one the button does nothing.
CONFIRM_JS = "(name, ...rest) => [name && confirm('Delete the endpoint ' + name + '?') ? name : null, ...rest]"


class Deploy:
    """The tab's components, and what happens between them; to be made inside a `gr.Blocks`."""

    def __init__(self, settings: SpaceSettings) -> None:
        self.settings = settings
        self.hardware = gr.State(())
        gr.HTML(lead_html(settings))
        with gr.Column(elem_classes="sheet"):
            with gr.Row(equal_height=False, elem_classes="bottom"):
                self.token = gr.Textbox(
                    label="Your token", type="password", placeholder="hf_…", scale=4, min_width=220, elem_id="token",
                    info="One that may manage Inference Endpoints. It stays in this field and is kept nowhere.",
                    html_attributes=gr.InputHTMLAttributes(autocomplete="off", spellcheck=False),
                )  # fmt: skip
                self.connect = gr.Button("Connect", scale=1, min_width=120, elem_id="connect")
            self.connected = gr.HTML("", elem_id="connected")
        with gr.Column(elem_classes="sheet", visible=False) as self.form:
            self._lay_out_form()
        with gr.Column(elem_classes="sheet", visible=False) as self.mine:
            self._lay_out_mine()
        self._wire()

    def _lay_out_form(self) -> None:
        proposed = self.settings.endpoint
        gr.Markdown("### A new endpoint")
        with gr.Row():
            self.name = gr.Textbox(
                self.settings.name[:32].strip("-"), label="Name", max_length=32, min_width=172, elem_id="endpoint-name"
            )
            self.namespace = gr.Dropdown([], label="Account", min_width=172, elem_id="account")
        with gr.Row():
            self.vendor = gr.Dropdown([], label="Provider", min_width=172)
            self.region = gr.Dropdown([], label="Region", min_width=172)
            self.machine = gr.Dropdown([], label="Machine", min_width=260, scale=2, elem_id="machine")
        with gr.Row():
            self.least = gr.Number(
                proposed["min_replica"], label="Replicas at least", precision=0, minimum=0, maximum=10, min_width=172,
                info=f"0: it sleeps after {endpoints.SCALE_TO_ZERO_MINUTES} idle minutes.",
            )  # fmt: skip
            self.most = gr.Number(
                proposed["max_replica"], label="Replicas at most", precision=0, minimum=1, maximum=10, min_width=172,
                info="This bounds what it costs.",
            )  # fmt: skip
            self.security = gr.Dropdown(
                [("With a token of yours", "authenticated"), ("Public", "public"), ("Private network", "private")],
                value="authenticated", label="Who may call it", min_width=172,
                info="Without a token, anybody can run up costs.",
            )  # fmt: skip
        self.price = gr.HTML("", elem_id="price")
        self.button = gr.Button(
            "Create endpoint", variant="primary", elem_id="create", interactive=self.settings.published
        )
        self.result = gr.HTML("", elem_id="deployed")
        self.picture = gr.Image(
            label="Its first picture", visible=False, interactive=False, format="png", height=260, elem_id="first",
            buttons=["download"],
        )  # fmt: skip

    def _lay_out_mine(self) -> None:
        gr.Markdown("### Your endpoints")
        self.table = gr.HTML("", elem_id="endpoints")
        with gr.Row(elem_classes="bottom"):
            self.chosen = gr.Dropdown([], label="Endpoint", min_width=180, scale=2, elem_id="chosen")
            self.refresh = gr.Button("Refresh", min_width=90)
            self.pause = gr.Button("Pause", min_width=90, elem_id="pause")
            self.resume = gr.Button("Resume", min_width=90)
            self.delete = gr.Button("Delete", min_width=90, variant="stop", elem_id="delete")
        self.changed = gr.HTML("", elem_id="changed")

    def _wire(self) -> None:
        # Private: an account's token has no business in an API that others may call.
        private: dict[str, Any] = {"api_visibility": "private"}
        listing = [self.table, self.chosen]
        choosing = [self.vendor, self.region, self.machine]
        gr.on(
            [self.connect.click, self.token.submit], self._connect, [self.token],
            [self.hardware, self.connected, self.form, self.mine, self.namespace, *choosing, self.price, *listing],
            **private,
        )  # fmt: skip
        self.namespace.input(self._list, [self.namespace, self.token], listing, **private)
        self.vendor.input(
            self._in_vendor, [self.hardware, self.vendor], [self.region, self.machine], queue=False, **private
        )
        self.region.input(
            self._in_region, [self.hardware, self.vendor, self.region], self.machine, queue=False, **private
        )
        gr.on(
            [self.machine.change, self.least.change, self.most.change],
            price_html, [self.hardware, self.machine, self.least, self.most], self.price, queue=False,
            show_progress="hidden", **private,
        )  # fmt: skip
        self.button.click(
            self._create,
            [
                self.name, self.namespace, self.machine, self.least, self.most, self.security, self.hardware,
                self.token,
            ],
            [self.result, self.picture, *listing],
            concurrency_limit=16, concurrency_id="endpoints", show_progress="hidden", **private,
        )  # fmt: skip
        about = [self.chosen, self.namespace, self.token]
        self.refresh.click(self._list, [self.namespace, self.token], listing, **private)
        for button, what in ((self.pause, "pause"), (self.resume, "resume"), (self.delete, "delete")):
            confirming = CONFIRM_JS if what == "delete" else None
            button.click(self._changing(what), about, [self.changed, *listing], js=confirming, **private)

    def _in_vendor(self, hardware: Hardware, vendor: str) -> tuple[gr.Dropdown, gr.Dropdown]:
        return machines(hardware, {**self.settings.endpoint, "vendor": vendor})[1:]

    def _in_region(self, hardware: Hardware, vendor: str, region: str) -> gr.Dropdown:
        return machines(hardware, {**self.settings.endpoint, "vendor": vendor, "region": region})[2]

    def _connect(self, token: str) -> tuple[Any, ...]:
        """Look up whose token it is, and what they can rent."""
        try:
            account = endpoints.look_up(token)
            listed = self._list(account.namespaces[0], token)
        except Refused as refused:
            hidden = gr.update(visible=False)
            return (), notice_html(str(refused), "bad", role="alert"), hidden, hidden, *(gr.skip() for _ in range(7))
        proposed = self.settings.endpoint
        machine = pick(account.hardware, proposed)
        price = price_html(account.hardware, machine, proposed["min_replica"], proposed["max_replica"])
        return (
            account.hardware,
            notice_html(f"Connected as {account.namespaces[0]}.", "good"),
            gr.update(visible=True),
            gr.update(visible=True),
            gr.Dropdown(list(account.namespaces), value=account.namespaces[0]),
            *machines(account.hardware, proposed),
            price,
            *listed,
        )

    def _create(
        self, name: str, namespace: str, machine: str, least: float, most: float, security: str, hardware: Hardware,
        token: str,
    ) -> Iterator[tuple[Any, ...]]:  # fmt: skip
        """Create, tell each state until it runs, and let it draw once."""
        order = Order(name, namespace, machine, int(least or 0), int(most or 0), security)
        told = [f"Order {name}: {self.settings.model_repo} {self.settings.version}"]
        hidden, nothing = gr.update(visible=False), gr.skip()
        yield steps_html(told), hidden, nothing, nothing
        progress = None
        try:
            endpoints.create(order, hardware, self.settings, token)
            for progress in endpoints.watch(name, namespace, token):
                text = in_words(progress)
                if told[-1] != text:
                    told.append(text)
                yield steps_html(told), hidden, *self._list_quietly(name, namespace, token)
            if progress is None or not progress.running or progress.url is None:
                yield steps_html(told, bad=True), hidden, nothing, nothing
                return
            usage = usage_html(progress.url, self.settings, security)
            if security == "private":
                told.append("It answers in its private network only, so it was not called from here")
                yield steps_html(told, done=True) + usage, hidden, nothing, nothing
                return
            told.append("Asking it for a picture")
            yield steps_html(told) + usage, hidden, nothing, nothing
            picture, seconds = endpoints.call(progress.url, self.usual_prompt, token)
            told[-1] = f"It drew its first picture in {seconds:.1f} s"
            drawn = gr.Image(Image.open(io.BytesIO(picture)), visible=True)
            yield steps_html(told, done=True) + usage, drawn, nothing, nothing
        except Refused as refused:
            told.append(str(refused))
            yield steps_html(told, bad=True), hidden, nothing, nothing

    @property
    def usual_prompt(self) -> str:
        """What a new endpoint is asked for."""
        return next(iter(self.settings.examples), self.settings.placeholder_token)

    def _list(self, namespace: str, token: str) -> tuple[Any, Any]:
        try:
            found = endpoints.list_all(namespace, token)
        except Refused as refused:
            return notice_html(str(refused), "bad", role="alert"), gr.Dropdown([], value=None)
        names = [endpoint.name for endpoint in found]
        return table_html(found), gr.Dropdown(names, value=names[0] if names else None)

    def _list_quietly(self, name: str, namespace: str, token: str) -> tuple[Any, Any]:
        """List the endpoints, or skip that when the API does not answer: following one endpoint goes on."""
        try:
            found = endpoints.list_all(namespace, token)
        except Refused:
            return gr.skip(), gr.skip()
        names = [endpoint.name for endpoint in found]
        return table_html(found), gr.Dropdown(names, value=name if name in names else None)

    def _changing(self, what: str) -> Callable[[str | None, str, str], tuple[Any, ...]]:
        def change(name: str | None, namespace: str, token: str) -> tuple[Any, ...]:
            if not name:
                return gr.skip(), gr.skip(), gr.skip()
            try:
                said = notice_html(endpoints.change(what, name, namespace, token), "good")
            except Refused as refused:
                said = notice_html(str(refused), "bad", role="alert")
            return said, *self._list(namespace, token)

        return change


def in_words(progress: Progress) -> str:
    """Describe an endpoint's state in words, with the message that the API adds."""
    words = STATES.get(progress.state, progress.state)
    return f"{words}: {progress.text}" if progress.text and progress.state in endpoints.FAILED else words


def lead_html(settings: SpaceSettings) -> str:
    """Render what will be deployed: the version, its repo and its revision."""
    if settings.revision is None:
        return notice_html("No version is published yet, so there is nothing to deploy.")
    return (
        f'<p class="lead">Serve <strong>{html.escape(settings.model_repo)} '
        f"{html.escape(str(settings.version))}</strong> "
        "on a machine of your own account, pinned to this very version.<br><small>Revision "
        f"<code>{html.escape(settings.revision)}</code></small></p>"
    )


def steps_html(told: Sequence[str], *, done: bool = False, bad: bool = False) -> str:
    """Render the steps so far as a list; the last line is what happens now."""
    last = "bad" if bad else "done" if done else "now"
    kinds = ["done"] * (len(told) - 1) + [last]
    items = "".join(f'<li class="{kind}">{html.escape(text)}</li>' for kind, text in zip(kinds, told, strict=True))
    return f'<ol class="steps" role="status">{items}</ol>'


def usage_html(url: str, settings: SpaceSettings, security: str) -> str:
    """Render how to call the endpoint from a terminal; the reader fills in the token."""
    body = json.dumps({"inputs": next(iter(settings.examples), ""), "parameters": {"seed": 0}}, ensure_ascii=False)
    quoted = body.replace("'", "'\\''")
    bearer = "" if security == "public" else " -H 'Authorization: Bearer $HF_TOKEN'".replace("'", '"')
    command = (
        f"curl {url} -H 'Content-Type: application/json' -H 'Accept: image/png'{bearer} -d '{quoted}' -o picture.png"
    )
    return f'<div class="notice"><code>{html.escape(command)}</code></div>'


def table_html(found: Sequence[InferenceEndpoint]) -> str:
    """Render the endpoints of an account as a table; everything in it is escaped."""
    if not found:
        return '<p class="line">There is none in this account.</p>'
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td>{html.escape(str(value))}</td>"
            for value in (
                endpoint.name,
                STATES.get(str(getattr(endpoint.status, "value", endpoint.status)), endpoint.status),
                f"{endpoint.repository} @ {str(endpoint.revision or 'main')[:10]}",
            )
        )
        + "</tr>"
        for endpoint in found
    )
    head = "<tr><th>Name</th><th>State</th><th>Serves</th></tr>"
    return f'<table class="endpoints"><thead>{head}</thead><tbody>{rows}</tbody></table>'
