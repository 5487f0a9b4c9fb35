"""Generator of docs/reference.md: `make reference`. A test compares the committed page with its output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_settings import BaseSettings

from cli.app import COMMANDS, GROUPS, LazyCommand
from cli.exit_codes import COMMON, EXIT_CODES
from conceptry.bases import BaseEntry
from conceptry.concept import ConceptSpec
from conceptry.policy import Policy
from conceptry.reasons import ActionReason, DeferralReason, DriftReason, GateReason, Reason
from conceptry.settings import PREFIX, ServingSettings, Settings
from conceptry.vertex_settings import PREFIX as VERTEX_PREFIX
from conceptry.vertex_settings import VertexSettings
from tasks.events import EVENTS, INSTALLATION_EVENTS, INSTALLATION_PREFIX
from tasks.events import PREFIX as EVENT_PREFIX

HEAD = """# Reference

Generated from the code by `make reference`; a test fails if this page is out of date.
"""


def reference() -> str:
    """Return the page as Markdown."""
    parts = [HEAD, *_commands(), *_exit_codes(), *_settings()]
    keys = [row for row in _keys(ConceptSpec) if row[0] != "`base`"]  # which is filled in from bases.yaml
    parts += ["## concept.yaml\n", _table(("key", "default", "meaning"), keys)]
    parts += [
        "## bases.yaml\n",
        "Base models by name, each with these keys; `conceptry base add` writes them. "
        "[bases.schema.json](bases.schema.json) is its schema.\n",
        _table(("key", "default", "meaning"), _keys(BaseEntry)),
    ]
    parts += ["## conceptry.yaml\n", _table(("key", "default", "meaning"), _keys(Policy))]
    parts += [
        "## Events\n",
        "Prefect events; the resource is `conceptry.concept.NAME` or `conceptry.installation.ID`.\n",
    ]
    events = [(f"`{EVENT_PREFIX}.{name}`", text) for name, text in EVENTS.items()]
    events += [(f"`{INSTALLATION_PREFIX}.{name}`", text) for name, text in INSTALLATION_EVENTS.items()]
    parts.append(_table(("event", "meaning"), events))
    parts += ["## Reason codes\n", "In the JSON of a plan, in events, and in the manifest of a version.\n"]
    for enumeration, title in (
        (ActionReason, "Of actions (`reason`)"),
        (DeferralReason, "Of deferrals (`deferral`)"),
        (DriftReason, "Of drift (`drift`)"),
        (GateReason, "Of the gate (`gate_reasons`)"),
    ):
        parts += [f"### {title}\n", _table(("code", "meaning"), _reasons(enumeration))]
    return "\n".join(parts)


def _commands() -> Iterator[str]:
    yield "## Command line\n"
    lazy = {name: LazyCommand(name, *about) for name, about in COMMANDS.items()}
    for group, (_, commands) in GROUPS.items():
        lazy |= {f"{group} {name}": LazyCommand(name, *about) for name, about in commands.items()}
    for name, command in lazy.items():
        loaded = command.load()
        usage = " ".join(["conceptry", name, *(_usage(one) for one in loaded.params)])
        yield f"### conceptry {name}\n\n```\n{usage}\n```\n\n{_text(loaded.help)}\n"
        yield _table(("argument", "meaning"), [(f"`{_name(one)}`", _text(one.help)) for one in loaded.params])


def _exit_codes() -> Iterator[str]:
    yield "## Exit codes\n"
    rows = [("every command", code, text) for code, text in COMMON.items()]
    rows += [(f"`{name}`", code, text) for name, codes in EXIT_CODES.items() for code, text in codes.items()]
    yield _table(("command", "code", "meaning"), rows)


def _settings() -> Iterator[str]:
    yield "## Settings\n\nEnvironment variables. Those of Vertex AI matter only where trainings run there.\n"
    rows: list[tuple[object, ...]] = []
    for prefix, model in ((PREFIX, Settings), (PREFIX, ServingSettings), (VERTEX_PREFIX, VertexSettings)):
        rows += _variables(prefix, model)
    yield _table(("variable", "default", "meaning"), rows)


def _variables(prefix: str, model: type[BaseSettings]) -> Iterator[tuple[object, ...]]:
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else _default(field.get_default(call_default_factory=True))
        yield f"`{prefix}{name.upper()}`", default, field.description or ""


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[object, ...]]:
    for name, field in model.model_fields.items():
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        yield (
            f"`{prefix}{name}`",
            "required" if field.is_required() else "" if isinstance(default, BaseModel) else _default(default),
            field.description or "",
        )
        if isinstance(default, BaseModel):
            yield from _keys(type(default), f"{prefix}{name}.")


def _reasons(enumeration: type[Reason]) -> Iterator[tuple[object, ...]]:
    for reason in enumeration:
        yield f"`{reason}`", reason.meaning


def _default(value: object) -> str:
    if value is None:
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _name(parameter: Any) -> str:
    """Return an option's first name, or an argument's placeholder."""
    if parameter.param_type_name == "option":
        return str(parameter.opts[0])
    return str(parameter.metavar or parameter.name.upper())


def _usage(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return _name(parameter)
    text = parameter.opts[0] if parameter.is_flag else f"{parameter.opts[0]} {parameter.name.upper()}"
    return text if parameter.required else f"[{text}]"


def _text(text: str | None) -> str:
    return " ".join((text or "").replace("\n\n", " ").split())


def _table(titles: tuple[str, ...], rows: Any) -> str:
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    if not cells:
        return ""
    lines = [titles, ["---"] * len(titles), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    print(reference(), end="")
