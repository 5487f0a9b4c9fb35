"""Parser of YAML files that users write: every mistake is reported with its line and a sentence.

The text is parsed to a node graph first, because nodes have line numbers. Duplicate keys, anchors and unsuitable
documents are found in the graph; pydantic validates the values; its errors are then mapped to the nodes' lines.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from conceptry.errors import Problem, SpecError

Spec = TypeVar("Spec", bound=BaseModel)

MAX_CHARACTERS = 64 * 1024
MAX_DEPTH = 20
TAGS = frozenset({"never", "every"})


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader with numbers such as 5e-4 and without YAML 1.1's dates."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+\Z"), list("-+0123456789")
)


def validate_yaml(model: type[Spec], text: str, path: str) -> Spec:
    """Parse one YAML document into a model.

    Raises:
        SpecError: the file has mistakes; all of them are listed.
    """
    root = _compose(text, path)
    problems = list(_duplicate_keys(root))
    try:
        spec = model.model_validate(_construct(root, path))
    except ValidationError as error:
        problems += [_problem(detail, root, model) for detail in error.errors(include_url=False)]
    else:
        if not problems:
            return spec
    raise SpecError(sorted(problems, key=lambda problem: (problem.line or 0, problem.field)), path)


def load_yaml(text: str, path: str) -> Any:
    """Parse one YAML document that another program wrote, without a model.

    Raises:
        SpecError: it is not valid YAML, or no mapping.
    """
    return _construct(_compose(text, path), path)


def _compose(text: str, path: str) -> yaml.MappingNode:
    if len(text) > MAX_CHARACTERS:
        raise SpecError([Problem(None, "", f"is too long: {len(text)} characters, {MAX_CHARACTERS} at most")], path)
    if not_utf8 := re.search("[\ud800-\udfff]", text):
        byte = ord(not_utf8[0]) & 0xFF
        line = text.count("\n", 0, not_utf8.start()) + 1
        raise SpecError([Problem(line, "", f"is not UTF-8 (byte 0x{byte:02x}); save it with that encoding")], path)
    try:
        if _may_be_deep(text):
            _check_depth(text, path)
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise _syntax_error(error, path) from None
    if not isinstance(root, yaml.MappingNode):
        raise SpecError([Problem(None if root is None else _start(root), "", "must hold `key: value` lines")], path)
    problems = list(_unfit(root))
    if problems:
        raise SpecError(problems, path)
    return root


def key_line(text: str, key: str) -> int | None:
    """Return the line of a key at the top level, from 1; None if the file does not have it."""
    return next((number for number, line in enumerate(text.splitlines(), 1) if line.startswith(f"{key}:")), None)


def _may_be_deep(text: str) -> bool:
    """Whether the nesting may exceed the limit: each level takes a bracket, a dash or a column of indentation."""
    indent = max((len(line) - len(line.lstrip(" ")) for line in text.splitlines()), default=0)
    return indent + sum(text.count(sign) for sign in "[{-?") >= MAX_DEPTH


def _check_depth(text: str, path: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise SpecError([Problem(_start(event), "", f"is nested deeper than {MAX_DEPTH} levels")], path)


def _construct(root: yaml.MappingNode, path: str) -> Any:
    try:
        return _Loader("").construct_document(root)
    except yaml.YAMLError as error:
        raise _syntax_error(error, path) from None
    except ValueError as error:  # an integer of 5,000 digits
        raise SpecError([Problem(None, "", f"holds a value that YAML cannot read: {error}")], path) from None


def _syntax_error(error: yaml.YAMLError, path: str) -> SpecError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    words = ", ".join(
        str(getattr(error, part)) for part in ("context", "problem", "reason") if getattr(error, part, None)
    )
    line = None if mark is None else mark.line + 1
    return SpecError([Problem(line, "", f"is not valid YAML: {words}")], path)


def _start(item: yaml.Node | yaml.Event) -> int:
    """Return the line on which a node or event starts, from 1."""
    return 1 if item.start_mark is None else int(item.start_mark.line) + 1


def _entries(node: yaml.Node, field: str = "") -> Iterator[tuple[yaml.Node, str, list[tuple[yaml.Node, yaml.Node]]]]:
    """Yield each node depth first with its dotted key and, for a section, its pairs; does not end on a cycle."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    yield node, field, pairs
    for key, value in pairs:
        yield from _entries(value, f"{field}.{key.value}" if field else str(key.value))
    for item in node.value if isinstance(node, yaml.SequenceNode) else ():
        yield from _entries(item, field)


def _unfit(root: yaml.MappingNode) -> Iterator[Problem]:
    """Yield what must not be constructed: anchors, which let a small file expand, and keys that are no strings."""
    seen: set[int] = set()
    for node, field, pairs in _entries(root):
        if id(node) in seen:
            yield Problem(_start(node), field, "uses an anchor; write the value out")
            return
        seen.add(id(node))
        for key, _ in pairs:
            if key.tag != "tag:yaml.org,2002:str":
                yield Problem(_start(key), field, "a key must be a word")


def _duplicate_keys(root: yaml.MappingNode) -> Iterator[Problem]:
    """Yield repeated keys, which construction would silently drop."""
    for _, field, pairs in _entries(root):
        first: dict[str, int] = {}
        for key, _ in pairs:
            if key.value in first:
                name = f"{field}.{key.value}" if field else key.value
                yield Problem(_start(key), name, f"is given twice, first in line {first[key.value]}")
            first.setdefault(key.value, _start(key))


def _problem(detail: ErrorDetails, root: yaml.Node, model: type[BaseModel]) -> Problem:
    location = [part for part in detail["loc"] if isinstance(part, str)]
    # The members of a union occur in pydantic's location, but not in the file.
    keys = [part for at, part in enumerate(location) if not (at == 1 and location[0] == "retrain" and part in TAGS)]
    unknown = detail["type"] == "extra_forbidden"
    message = _unknown_key(keys, model) if unknown else _message(detail, keys, model)
    return Problem(_line(root, keys, at_key=unknown), ".".join(keys), message)


def _line(root: yaml.Node, keys: list[str], *, at_key: bool) -> int:
    """Return the line of a value; of its key for unknown keys; of the section for missing keys."""
    node, line = root, root.start_mark.line + 1
    for part in keys:
        if not isinstance(node, yaml.MappingNode):
            break
        found = next(((key, value) for key, value in node.value if key.value == part), None)
        if found is None:
            break
        key, node = found
        block = isinstance(node, yaml.CollectionNode)
        line = (key if at_key or block else node).start_mark.line + 1
    return line


def _section(keys: list[str], model: type[BaseModel]) -> type[BaseModel] | None:
    """Return the model of the section at these keys; None for a plain value."""
    for key in keys:
        field = model.model_fields.get(key)
        if field is None:
            return None
        models = [arm for arm in _arms(field.annotation) if isinstance(arm, type) and issubclass(arm, BaseModel)]
        if not models:
            return None
        model = models[0]
    return model


def _arms(annotation: Any) -> Iterator[Any]:
    inner = getattr(annotation, "__args__", ())
    yield annotation
    for arm in inner:
        yield from _arms(arm)


def _unknown_key(keys: list[str], model: type[BaseModel]) -> str:
    section = _section(keys[:-1], model)
    allowed = list(section.model_fields) if section else []
    near = difflib.get_close_matches(keys[-1].lower(), allowed, n=1, cutoff=0.6)
    if near:
        return f"unknown key; did you mean {near[0]}?"
    return f"unknown key; allowed here: {', '.join(allowed)}"


def _message(detail: ErrorDetails, keys: list[str], model: type[BaseModel]) -> str:
    kind, value, context = detail["type"], _shown(detail["input"]), detail.get("ctx", {})
    if kind == "missing":
        return f"is missing: {_description(keys, model)}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        if keys == ["retrain"]:
            return f"{value} is not one of: never, {{every_days: N}}"
        return f"{value} is not one of: {_alternatives(str(context['expected']))}"
    if kind in ("model_type", "dict_type"):
        section = _section(keys, model)
        return f"{value} is not a section; it may hold: {', '.join(section.model_fields) if section else ''}"
    return f"{value} {_words(kind, context)}" if kind in _WORDS else f"{value}: {detail['msg']}"


_WORDS = {
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "float_type": "is not a number",
    "finite_number": "is not a finite number",
    "bool_type": "is not one of: true, false",
    "string_type": "is not text; put it in quotes",
    "greater_than": "is too small: it must be more than {gt}",
    "greater_than_equal": "is too small: {ge} at least",
    "less_than": "is too large: it must be less than {lt}",
    "less_than_equal": "is too large: {le} at most",
    "multiple_of": "is not a multiple of {multiple_of}",
    "too_long": "is too long: {max_length} characters at most",
    "string_too_long": "is too long: {max_length} characters at most",
}


def _words(kind: str, context: Mapping[str, Any]) -> str:
    return _WORDS[kind].format_map({key: f"{value:g}" if _is_float(value) else value for key, value in context.items()})


def _is_float(value: object) -> bool:
    return isinstance(value, float)


def _alternatives(expected: str) -> str:
    """Convert pydantic's "'a', 'b' or 'c'" to "a, b, c"."""
    return ", ".join(re.findall(r"'([^']*)'", expected))


def _description(keys: list[str], model: type[BaseModel]) -> str:
    section = _section(keys[:-1], model)
    field = section.model_fields.get(keys[-1]) if section else None
    return (field.description if field else None) or "it has no default"


def _shown(value: object) -> str:
    """Return a value as YAML writes it, shortened if it is long."""
    words = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else None
    text = words or ("null" if value is None else repr(value))
    return text if len(text) <= 60 else f"{text[:57]}..."
