"""The Python installation as a corpus: its language reference, docstrings and source files, read as text."""

from __future__ import annotations

import ast
import sysconfig
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson
import pyarrow as pa

from core.documents.mapping import rejects, table
from core.documents.rows import Problem
from core.documents.source import PythonLibrary
from core.errors import ResourceError

# Tests are no prose and little code to learn from; pydoc_data is what `topics` reads.
LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "pydoc_data"}

Item = tuple[str, str]  # kind, and the topic or the file's path below the standard library


def library_directory() -> Path:
    """Where this Python keeps its standard library."""
    return Path(sysconfig.get_path("stdlib"))


def library_items(options: PythonLibrary) -> list[Item]:
    """What there is to read, kind by kind, sorted by name. Raises ResourceError where this Python came without it."""
    root = library_directory()
    names = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if not LEFT_OUT & set(path.relative_to(root).parts)
    )
    if not names:
        raise ResourceError(f"{root}: this Python came without the files of its library. Use a full installation.")
    items: list[Item] = [
        (kind, name) for kind in options.kinds for name in (sorted(_topics(root)) if kind == "topics" else names)
    ]
    if options.max_documents is None or options.max_documents >= len(items):
        return items
    return [items[place * len(items) // options.max_documents] for place in range(options.max_documents)]


def library_documents(items: Sequence[Item], options: PythonLibrary, source: str) -> tuple[pa.Table, pa.Table]:
    """The documents of some items, in order, and what of them could not be read (DROPPED).

    Ids are source:kind:name; meta holds both.
    """
    root = library_directory()
    topics = _topics(root) if any(kind == "topics" for kind, _ in items) else {}
    made = []
    problems = []
    for kind, name in items:
        id_ = f"{source}:{kind}:{name}"
        text = topics[name] if kind == "topics" else _module_text(root, name, kind)
        if isinstance(text, str) and len(text) > (options.max_characters or len(text)):
            message = f"{name}: {len(text):,} characters, max_characters is {options.max_characters:,}"
            text = Problem(None, "too_long", message, text)
        if isinstance(text, Problem):
            problems.append((id_, text))
        else:
            made.append({"id": id_, "text": text, "meta": orjson.dumps({"kind": kind, "name": name}).decode()})
    return table(made, source), rejects(problems, source)


def _topics(root: Path) -> dict[str, str]:
    """The pages of the language reference that `help()` shows, by topic."""
    path = root / "pydoc_data" / "topics.py"
    if not path.is_file():
        raise ResourceError(
            f"{path}: this Python came without its topics. Leave 'topics' out of python_library.kinds, "
            "or use a full installation."
        )
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Dict):
            topics: dict[str, str] = ast.literal_eval(statement.value)
            return topics
    return {}


def _module_text(root: Path, name: str, kind: str) -> str | Problem:
    path = root / name
    try:
        with tokenize.open(path) as file:  # as Python does: by the declared encoding, else UTF-8
            text = file.read()
    except (SyntaxError, UnicodeDecodeError) as error:
        return Problem(None, "unreadable_encoding", f"{path}: {error}", None)
    except OSError as error:
        return Problem(None, "missing_file", f"{path}: {error.strerror}", None)
    if kind == "source":
        return text or Problem(None, "empty_file", f"{path}: is empty", None)
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        return Problem(None, "not_python", f"{path}: {error}", text)
    module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    docstrings = list(_docstrings(tree, module))
    return "\n\n".join(docstrings) or Problem(None, "no_docstrings", f"{path}: has no docstrings", None)


def _docstrings(node: ast.AST, name: str) -> Iterator[str]:
    """Each docstring below its owner's name, in the order of the file."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        docstring = ast.get_docstring(node)
        if docstring:
            yield f"{name}\n\n{docstring}"
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _docstrings(child, f"{name}.{child.name}")
        elif isinstance(child, ast.stmt):  # definitions below if, try and with
            yield from _docstrings(child, name)
