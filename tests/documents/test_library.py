from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import pytest

from core.documents import library
from core.documents.library import library_directory, library_documents, library_items
from core.documents.reading import input_fingerprint, shards
from core.documents.source import PythonLibrary, Source
from core.errors import ResourceError
from tests.documents.conftest import Read


def test_every_topic_is_a_document(read: Read) -> None:
    documents, rejected = read(python_library={"kinds": ["topics"]})
    import pydoc_data.topics

    texts = dict(zip(documents["id"].to_pylist(), documents["text"].to_pylist(), strict=True))
    assert texts == {f"s:topics:{name}": text for name, text in pydoc_data.topics.topics.items()}
    assert documents["id"].to_pylist() == sorted(texts)
    assert rejected.num_rows == 0


def test_source_files_are_documents_without_tests_and_installed_packages() -> None:
    items = library_items(PythonLibrary(kinds=["source"]))
    names = [name for _, name in items]
    assert "argparse.py" in names
    assert "json/decoder.py" in names
    assert names == sorted(names)
    assert not [name for name in names if {"test", "tests", "site-packages"} & set(name.split("/"))]
    documents, _ = library_documents([("source", "json/decoder.py")], PythonLibrary(), "s")
    assert documents["text"].to_pylist() == [(library_directory() / "json/decoder.py").read_text("utf-8")]
    assert json.loads(documents["meta"][0].as_py()) == {"kind": "source", "name": "json/decoder.py"}


def test_docstrings_of_a_module_are_one_document_and_nothing_is_imported() -> None:
    unwanted = "this"  # prints when it is imported
    assert unwanted not in sys.modules
    documents, rejected = library_documents([("docstrings", f"{unwanted}.py")], PythonLibrary(), "s")
    assert documents.num_rows == 0
    assert rejected["reason"].to_pylist() == ["no_docstrings"]
    assert rejected["id"].to_pylist() == ["s:docstrings:this.py"]
    assert unwanted not in sys.modules
    documents, _ = library_documents([("docstrings", "json/decoder.py")], PythonLibrary(), "s")
    tree = ast.parse((library_directory() / "json/decoder.py").read_text("utf-8"))
    [text] = documents["text"].to_pylist()
    assert text.startswith("json.decoder\n\nImplementation of JSONDecoder")
    wanted = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    assert [docstring for docstring in wanted if docstring and docstring not in text] == []
    assert "json.decoder.JSONDecoder.decode\n\n" in text


def test_file_that_cannot_be_read_is_rejected_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "latin.py").write_bytes(b'"""caf\xe9"""\n')
    (tmp_path / "declared.py").write_bytes(b'# coding: latin-1\n"""caf\xe9"""\n')
    (tmp_path / "template.py").write_text('"""x"""\n{{ template }\n')
    (tmp_path / "empty.py").write_text("")
    monkeypatch.setattr(library, "library_directory", lambda: tmp_path)
    options = PythonLibrary(kinds=["docstrings", "source"])
    documents, rejected = library_documents(library_items(options), options, "s")
    assert documents["id"].to_pylist() == ["s:docstrings:declared.py", "s:source:declared.py", "s:source:template.py"]
    assert documents["text"][0].as_py() == "declared\n\ncafé"
    assert dict(zip(rejected["id"].to_pylist(), rejected["reason"].to_pylist(), strict=True)) == {
        "s:docstrings:empty.py": "no_docstrings",
        "s:docstrings:latin.py": "unreadable_encoding",
        "s:docstrings:template.py": "not_python",
        "s:source:empty.py": "empty_file",
        "s:source:latin.py": "unreadable_encoding",
    }


def test_longer_document_than_asked_for_is_rejected_whole(read: Read) -> None:
    everything, _ = read(python_library={"kinds": ["topics"]})
    documents, rejected = read(python_library={"kinds": ["topics"], "max_characters": 2000})
    assert documents.num_rows + rejected.num_rows == everything.num_rows
    assert max(map(len, documents["text"].to_pylist())) <= 2000
    assert min(map(len, rejected["text"].to_pylist())) > 2000
    assert set(rejected["reason"].to_pylist()) == {"too_long"}
    assert "max_characters is 2,000" in rejected["evidence"][0].as_py()


def test_fewer_documents_are_spread_over_all_kinds() -> None:
    whole = library_items(PythonLibrary())
    some = library_items(PythonLibrary(max_documents=30))
    assert len(some) == 30
    assert [item for item in whole if item in set(some)] == some
    assert {kind for kind, _ in some} == {"topics", "docstrings", "source"}
    assert library_items(PythonLibrary(max_documents=10**6)) == whole


def test_shards_hold_every_item_once_and_know_their_content(tmp_path: Path) -> None:
    source = Source.model_validate({"python_library": {}})
    found = shards("s", source, tmp_path)
    items = [item for shard in found for item in shard.items]
    assert items == library_items(PythonLibrary())
    assert len(found) > 1
    assert len({input_fingerprint(shard) for shard in found}) == len(found)
    assert found == shards("s", source, tmp_path)


def test_installation_without_its_library_is_a_missing_resource(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "library_directory", lambda: tmp_path)
    with pytest.raises(ResourceError, match="came without the files of its library"):
        library_items(PythonLibrary())
    (tmp_path / "a.py").write_text("x = 1\n")
    with pytest.raises(ResourceError, match="came without its topics"):
        library_items(PythonLibrary())
