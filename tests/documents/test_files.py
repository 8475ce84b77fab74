from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from core.documents.files import expand
from core.documents.source import Source
from core.errors import DataError, ResourceError


def source(*patterns: str) -> Source:
    return Source.model_validate({"files": list(patterns), "fields": {"text": "text"}})


def make(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"text": "x"}\n')


def test_pattern_gives_its_files_sorted_without_hidden_ones_and_directories(tmp_path: Path) -> None:
    make(*(tmp_path / name for name in ("b.jsonl", "a.jsonl", ".c.jsonl", "d.jsonl/e.jsonl", "deep/er/f.jsonl")))
    assert expand(source("*.jsonl"), tmp_path) == [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]
    every = [Path(path).name for path in expand(source("**/*.jsonl"), tmp_path)]
    assert every == ["a.jsonl", "b.jsonl", "e.jsonl", "f.jsonl"]


def test_file_that_two_patterns_match_comes_once_and_patterns_keep_their_order(tmp_path: Path) -> None:
    make(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    names = [Path(path).name for path in expand(source("b.jsonl", "*.jsonl"), tmp_path)]
    assert names == ["b.jsonl", "a.jsonl"]


def test_relative_path_is_looked_for_beside_the_recipe_then_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, recipe = tmp_path / "here", tmp_path / "recipe"
    make(here / "a.jsonl", here / "b.jsonl", recipe / "a.jsonl")
    monkeypatch.chdir(here)
    assert expand(source("a.jsonl", "b.jsonl"), recipe) == [str(recipe / "a.jsonl"), str(here / "b.jsonl")]


def test_name_with_brackets_is_found_as_it_is(tmp_path: Path) -> None:
    make(tmp_path / "[x]" / "a[1].jsonl")
    assert expand(source("a[1].jsonl"), tmp_path / "[x]") == [str(tmp_path / "[x]" / "a[1].jsonl")]
    assert expand(source("a*.jsonl"), tmp_path / "[x]") == [str(tmp_path / "[x]" / "a[1].jsonl")]


@pytest.mark.parametrize(
    ("pattern", "says"), [("nothing.jsonl", "nothing.jsonl: no such file"), ("no*.jsonl", "no*.jsonl: no file matches")]
)
def test_what_matches_nothing_is_named_with_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, says: str
) -> None:
    monkeypatch.chdir("/")
    with pytest.raises(DataError) as error:
        expand(source(pattern), tmp_path)
    assert str(error.value) == f"{says} (looked in {tmp_path} and in /)"


def test_absolute_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone.jsonl: no such file"):
        expand(source(str(tmp_path / "gone.jsonl")), Path("/"))


def test_directory_is_refused_with_the_pattern_that_was_probably_meant(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    with pytest.raises(DataError, match=r"corpus: is a directory. Name the files in it, e.g. corpus/\*.jsonl"):
        expand(source("corpus"), tmp_path)


def test_name_that_tells_no_format_needs_one(tmp_path: Path) -> None:
    make(tmp_path / "corpus.dat")
    with pytest.raises(DataError, match=r"corpus.dat: the name tells no format .*format: jsonl"):
        expand(source("corpus.dat"), tmp_path)
    declared = Source.model_validate({"files": "corpus.dat", "format": "jsonl", "fields": {"text": "text"}})
    assert expand(declared, tmp_path) == [str(tmp_path / "corpus.dat")]


def test_url_of_any_fsspec_store_is_listed_like_a_path(tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    for name in ("b.jsonl", "a.jsonl"):
        store.pipe(f"/files/{name}", b'{"text": "x"}\n')
    try:
        assert expand(source("memory://files/*.jsonl"), tmp_path) == [
            "memory:///files/a.jsonl",
            "memory:///files/b.jsonl",
        ]
        assert expand(source("memory://files/a.jsonl"), tmp_path) == ["memory://files/a.jsonl"]
        with pytest.raises(DataError, match=r"memory://files/c.jsonl: no such file"):
            expand(source("memory://files/c.jsonl"), tmp_path)
        with pytest.raises(DataError, match=r"memory://files/c\*.jsonl: no file matches"):
            expand(source("memory://files/c*.jsonl"), tmp_path)
        with pytest.raises(DataError, match="is a directory"):
            expand(source("memory://files"), tmp_path)
    finally:
        store.rm("/files", recursive=True)


def test_unknown_kind_of_url_is_a_missing_resource(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"nonsense://x.jsonl: this kind of address cannot be read here"):
        expand(source("nonsense://x.jsonl"), tmp_path)
