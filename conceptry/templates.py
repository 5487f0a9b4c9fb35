"""Validation of the files with which a concept overrides the templates of its Space and its handler.

An override is a program. It is checked before anything is rendered from it, because Inference Endpoints report a
handler without its class only minutes after the machine was rented.
"""

import ast
import re
from collections.abc import Mapping

FILE = re.compile(r"[a-z_][a-z0-9_]{0,40}\.(?:py|css|js|html)|requirements\.txt")
HANDLER, HANDLER_CLASS = "handler.py", "EndpointHandler"


def template_file(name: str) -> str:
    """Validate the name of a template's file, for pydantic.

    Raises:
        ValueError: the name has a folder in it, or an ending that no template has.
    """
    if not FILE.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a file of a template: write a name such as theme.py or requirements.txt, without folders"
        )
    return name


def programs(files: Mapping[str, str]) -> Mapping[str, str]:
    """Validate that every `.py` file parses, for pydantic.

    Raises:
        ValueError: a file is not Python; the message names the file and the line.
    """
    for name, text in files.items():
        if name.endswith(".py"):
            _parsed(name, text)
    return files


def handler_files(files: Mapping[str, str]) -> Mapping[str, str]:
    """Validate a handler against the contract of Inference Endpoints, for pydantic.

    The contract: handler.py defines a class EndpointHandler; `EndpointHandler(path)` constructs it, and calling the
    instance with a request's data returns the response.

    Raises:
        ValueError: the handler breaks the contract; the message names the file, the line, and what is missing.
    """
    programs(files)
    if HANDLER in files:
        wrong = _broken_contract(_parsed(HANDLER, files[HANDLER]))
        if wrong:
            raise ValueError(f"{HANDLER} {wrong}: an endpoint makes {HANDLER_CLASS}(path) and calls it with the data")
    return files


def _parsed(name: str, text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise ValueError(f"{name}{line} is not Python: {getattr(error, 'msg', error)}") from None


def _broken_contract(module: ast.Module) -> str | None:
    """Return what a handler lacks, in words, or None; imported and inherited definitions are not followed."""
    for node in module.body:
        if isinstance(node, ast.ImportFrom) and any(
            (alias.asname or alias.name) == HANDLER_CLASS for alias in node.names
        ):
            return None
    found = [node for node in module.body if isinstance(node, ast.ClassDef) and node.name == HANDLER_CLASS]
    if not found:
        return f"has no class {HANDLER_CLASS}"
    methods = {node.name: node for node in found[-1].body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    inherits = bool(found[-1].bases)
    for name in ("__init__", "__call__"):
        method = methods.get(name)
        if method is None:
            if inherits:
                continue
            return f"has a class {HANDLER_CLASS} without {name}"
        if isinstance(method, ast.AsyncFunctionDef) or not _takes_one(method.args):
            return f"line {method.lineno}: {HANDLER_CLASS}.{name} must be a plain method that takes one argument"
    return None


def _takes_one(arguments: ast.arguments) -> bool:
    """Whether a method can be called with exactly one positional argument besides self."""
    positional = [*arguments.posonlyargs, *arguments.args]
    most = len(positional) if arguments.vararg is None else 2
    required = len(positional) - len(arguments.defaults)
    keywords = any(default is None for default in arguments.kw_defaults)
    return required <= 2 <= most and not keywords
