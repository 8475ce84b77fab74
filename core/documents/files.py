"""Finding a source's files: paths, patterns and URLs to a list of files that is the same every time."""

from __future__ import annotations

import glob
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.documents.source import SUFFIXES, Format, Source, format_by_name
from core.errors import DataError, ResourceError


def expand(source: Source, recipe_dir: Path) -> list[str]:
    """The files of a source, as absolute paths or URLs, each once, sorted within each pattern.

    A relative path is looked for below recipe_dir, then below the current directory.
    Raises DataError for a pattern or path that matches nothing, a directory, and a name that tells no format.
    """
    found: dict[str, None] = {}
    for pattern in source.patterns:
        files = _remote(pattern) if is_remote(pattern) else _local(pattern, recipe_dir)
        found.update(dict.fromkeys(files))
    for path in found:
        file_format(path, source)
    return list(found)


def find_file(given: str, recipe_dir: Path) -> Path:
    """A file that a recipe names, as an absolute path: beside the recipe, else in the current directory.

    Raises DataError where it is in neither place.
    """
    return _find(given, recipe_dir, Path.is_file, "file")


def find_directory(given: str, recipe_dir: Path) -> Path:
    """As `find_file`, of a directory."""
    return _find(given, recipe_dir, Path.is_dir, "directory")


def _find(given: str, recipe_dir: Path, is_it: Callable[[Path], bool], what: str) -> Path:
    places = [base / Path(given).expanduser() for base in dict.fromkeys([recipe_dir.absolute(), Path.cwd()])]
    there = next((path for path in places if is_it(path)), None)
    if there is None:
        looked = " and ".join(str(path.parent) for path in dict.fromkeys(places))
        raise DataError(f"{given}: no such {what} (looked in {looked})")
    return there


def file_format(path: str, source: Source) -> Format:
    """The declared format of a source's files, or the one that this file's name tells. Raises DataError."""
    known = source.format or format_by_name(path)
    if known is None:
        raise DataError(
            f"{path}: the name tells no format (known: {', '.join(f'.{suffix}' for suffix in SUFFIXES)}, each also "
            "with .gz or .zst). Say which it is, e.g. format: jsonl."
        )
    return known


def is_remote(path: str) -> bool:
    """Whether a path is an fsspec URL."""
    return "://" in path


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it.

    Raises ResourceError where its package is not installed or it is not known.
    """
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)  # type: ignore[no-any-return]
    except (ImportError, ValueError) as error:
        raise ResourceError(f"{url}: this kind of address cannot be read here: {error}") from error


def _local(pattern: str, recipe_dir: Path) -> list[str]:
    given = Path(pattern).expanduser()
    bases = [Path(given.anchor)] if given.is_absolute() else list(dict.fromkeys([recipe_dir.absolute(), Path.cwd()]))
    for base in bases:
        path = base / given
        if path.is_dir():
            raise DataError(f"{path}: is a directory. Name the files in it, e.g. {Path(pattern) / '*.jsonl'}")
        if path.exists():  # first, so that a name with brackets in it can be given as it is
            return [str(path)]
        # glob's *, unlike pathlib's, leaves hidden files out
        matches = glob.glob(str(given.relative_to(given.anchor)), root_dir=base, recursive=True)  # noqa: PTH207
        files = sorted(str(base / match) for match in matches if (base / match).is_file())
        if files:
            return files
    where = " and in ".join(str(base) for base in bases)
    if glob.has_magic(pattern):
        raise DataError(f"{pattern}: no file matches (looked in {where})")
    raise DataError(f"{pattern}: no such file (looked in {where})")


def _remote(url: str) -> list[str]:
    files, path = filesystem(url)
    try:
        if glob.has_magic(path):
            matches = [files.unstrip_protocol(match) for match in files.glob(path) if files.isfile(match)]
            if not matches:
                raise DataError(f"{url}: no file matches")
            return sorted(matches)
        if files.isdir(path) and not files.isfile(path):
            raise DataError(f"{url}: is a directory. Name the files in it, e.g. {url.rstrip('/')}/*.jsonl")
        if not files.exists(path):
            raise DataError(f"{url}: no such file")
    except DataError:
        raise
    except Exception as error:  # every file system has errors of its own
        raise unreachable(url, error) from error
    return [url]


def unreachable(url: str, error: Exception) -> ResourceError:
    """What to tell of a store that does not answer."""
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return ResourceError(f"{url}: cannot be reached: {reason}. Check the address, the network and the credentials.")
