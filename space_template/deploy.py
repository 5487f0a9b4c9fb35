"""The Deploy tab: put the released version on an Inference Endpoint of one's own account."""

from __future__ import annotations

import html
import os
import re
from dataclasses import dataclass

import gradio as gr
import httpx2
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError

from space_template.served import Served

VENDORS = ["aws", "azure", "gcp"]
SECURITY = ["authenticated", "public", "private"]
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
ENDPOINTS_API_VARIABLE = "CONCEPTRY_ENDPOINTS_API"


@dataclass(frozen=True)
class Order:
    """What somebody asks for; `token` never leaves `create`."""

    name: str
    namespace: str
    vendor: str
    region: str
    accelerator: str
    instance_type: str
    instance_size: str
    min_replica: int
    max_replica: int
    security: str


@dataclass(frozen=True)
class Answer:
    """What came of an order, in words; `url` is where the endpoint will answer, once it runs."""

    ok: bool
    text: str
    url: str | None = None


def problems(order: Order, served: Served, token: str) -> list[str]:
    """Everything that is wrong with an order before anybody is asked."""
    found = []
    if served.revision is None:
        found.append("No version is published yet, so there is nothing to deploy.")
    if not token.strip():
        found.append("Give a token that may create endpoints (it starts with hf_).")
    if not NAME.fullmatch(order.name):
        found.append("The endpoint's name takes lower-case letters, digits and hyphens, 32 at most.")
    for value, label in (
        (order.region, "region"),
        (order.instance_type, "instance type"),
        (order.instance_size, "instance size"),
    ):
        if not value.strip():
            found.append(f"The {label} is missing.")
    if not 0 <= order.min_replica <= order.max_replica or order.max_replica < 1:
        found.append("Replicas: the least must be 0 or more, and the most at least 1 and not below the least.")
    return found


def create(order: Order, served: Served, token: str) -> Answer:
    """Create the endpoint from the exact revision that this Space serves. The token is used once and kept nowhere."""
    found = problems(order, served, token)
    if found:
        return Answer(False, " ".join(found))
    # The client has this address hard-coded, but reads it at each call.
    constants.INFERENCE_ENDPOINTS_ENDPOINT = os.environ.get(
        ENDPOINTS_API_VARIABLE, constants.INFERENCE_ENDPOINTS_ENDPOINT
    )
    try:
        endpoint = HfApi(token=token.strip()).create_inference_endpoint(
            order.name,
            repository=served.model_repo,
            revision=served.revision,
            framework="custom",
            task="custom",
            accelerator=order.accelerator,
            vendor=order.vendor,
            region=order.region.strip(),
            instance_type=order.instance_type.strip(),
            instance_size=order.instance_size.strip(),
            min_replica=order.min_replica,
            max_replica=order.max_replica,
            scale_to_zero_timeout=15 if order.min_replica == 0 else None,
            type=order.security,
            namespace=order.namespace.strip() or None,
        )
    except HfHubHTTPError as error:
        return Answer(False, explain(error.response.status_code, error.server_message or "", order, token))
    except httpx2.HTTPError as error:
        return Answer(False, f"The Endpoints API could not be reached ({type(error).__name__}); try again.")
    text = f"{order.name} is {endpoint.status}: {served.model_repo} {served.version} at {str(served.revision)[:10]}."
    return Answer(True, text, endpoint.url)


def explain(status: int, detail: str, order: Order, token: str) -> str:
    """Say in words why the API refused; whatever it echoes, the token is not part of it."""
    words = {
        400: "The API did not accept this order; check region, instance type and size",
        401: "The token was refused: it is wrong or has expired",
        402: "The account has no way to pay; add one in its billing settings",
        403: "The token or the account may not do this: check its permissions and the account's quota",
        404: f"The account {order.namespace or 'of this token'} or the model is not visible to this token",
        409: f"There is an endpoint named {order.name} already; choose another name",
        429: "Too many requests; try again in a minute",
    }
    what = words.get(status, "The API failed; try again later" if status >= 500 else "The API refused the order")
    detail = detail.replace(token.strip(), "…")[:300]
    return f"{what} ({status}{': ' + detail if detail else ''})."


def answer_html(answer: Answer) -> str:
    """The answer as a banner; everything in it is escaped."""
    kind = "good" if answer.ok else "bad"
    url = f"<br><code>{html.escape(answer.url)}</code>" if answer.url else ""
    return f'<div class="notice {kind}" role="status">{html.escape(answer.text)}{url}</div>'


def build_deploy(served: Served) -> None:
    """Lay the tab out and wire it; to be called inside a `gr.Blocks`."""
    proposed = served.endpoint
    target = f"{served.model_repo} {served.version or '(nothing published)'}"
    revision = f" at revision {served.revision}" if served.revision else ""
    gr.HTML(f"<p>Serve <strong>{html.escape(target)}</strong>{html.escape(revision)} on an endpoint of your own.</p>")
    with gr.Row():
        token = gr.Textbox(
            label="Token",
            type="password",
            placeholder="hf_…",
            info="Used once, kept nowhere.",
            html_attributes=gr.InputHTMLAttributes(autocomplete="off", spellcheck=False),
        )
        namespace = gr.Textbox(label="Account", placeholder="yours", info="Empty: the token's own.")
        name = gr.Textbox(served.name[:32].strip("-"), label="Endpoint name", max_length=32)
    with gr.Row():
        vendor = gr.Dropdown(VENDORS, value=proposed["vendor"], label="Vendor")
        region = gr.Textbox(proposed["region"], label="Region")
        accelerator = gr.Dropdown(["cpu", "gpu"], value=proposed["accelerator"], label="Accelerator")
        instance_type = gr.Textbox(proposed["instance_type"], label="Instance type")
        instance_size = gr.Textbox(proposed["instance_size"], label="Instance size")
    with gr.Row():
        least = gr.Number(
            proposed["min_replica"], label="Replicas at least", precision=0, minimum=0, maximum=10, info="0: it sleeps."
        )
        most = gr.Number(
            proposed["max_replica"],
            label="Replicas at most",
            precision=0,
            minimum=1,
            maximum=10,
            info="Bounds the cost.",
        )
        security = gr.Dropdown(SECURITY, value="authenticated", label="Security")
    button = gr.Button("Create endpoint", variant="primary", interactive=served.published)
    result = gr.HTML("", elem_id="deployed")

    def deploy(
        token: str,
        namespace: str,
        name: str,
        vendor: str,
        region: str,
        accelerator: str,
        instance_type: str,
        instance_size: str,
        min_replica: float,
        max_replica: float,
        security: str,
    ) -> tuple[str, str]:
        order = Order(
            name, namespace, vendor, region, accelerator, instance_type, instance_size,
            int(min_replica or 0), int(max_replica or 0), security,
        )  # fmt: skip
        return answer_html(create(order, served, token)), ""

    # Private: an account's token has no business in an API that others may call.
    button.click(
        deploy,
        [token, namespace, name, vendor, region, accelerator, instance_type, instance_size, least, most, security],
        [result, token],
        api_visibility="private",
        concurrency_id="deploy",
    )
