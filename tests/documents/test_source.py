from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from core.documents.source import PythonLibrary, Source, format_by_name

FIELDS = {"text": "body"}


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({}, "exactly one of files, dataset, python_library, skills; found none"),
        ({"files": "a.jsonl", "dataset": "x", "fields": FIELDS}, "found files and dataset"),
        ({"files": "a.jsonl"}, "fields is missing"),
        ({"files": ["a.txt", "b.jsonl"]}, "fields is missing"),
        ({"dataset": "x"}, "fields is missing"),
        ({"files": []}, "files is an empty list"),
        ({"files": "a.txt", "fields": FIELDS}, "text files have no columns"),
        ({"dataset": "x", "fields": FIELDS, "format": "csv"}, "a source of dataset has no format"),
        ({"files": "a.html", "fields": FIELDS}, "html files have no columns"),
        ({"files": ["a.warc.gz", "b.txt"], "fields": FIELDS}, "text and warc files have no columns"),
        ({"files": "a.txt", "html": {}}, "html goes with files of html or warc, or with fields.text"),
        ({"files": "a.jsonl", "html": {}, "fields": {"messages": "m"}}, "html goes with fields.text"),
        ({"dataset": "x", "html": {}, "fields": {"prompt": "p", "chosen": "c", "rejected": "r"}}, "not with pair"),
        ({"skills": {}, "html": {}}, "a source of skills has no html"),
        ({"files": "a.jsonl", "fields": FIELDS, "split": "test"}, "a source of files has no split"),
        ({"python_library": {}, "fields": FIELDS}, "a source of python_library has no fields"),
        ({"files": "a", "format": "jsonl", "records": "rows", "fields": FIELDS}, "records goes with JSON"),
        ({"files": "a", "format": "parquet", "columns": ["a"], "fields": FIELDS}, "columns goes with CSV and TSV"),
        ({"files": "a.jsonl", "fields": FIELDS, "on_eror": "skip"}, "on_eror"),
    ],
)
def test_combination_that_cannot_be_meant_is_refused_in_words(declared: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(says)):
        Source.model_validate(declared)


@pytest.mark.parametrize(
    "declared",
    [
        {"files": "a.jsonl", "fields": FIELDS},
        {"files": ["notes/*.txt", "more.md.gz"]},
        {"files": ["a.warc.gz", "b.html", "c.txt"], "html": {"main_content": False, "skip_elements": [".x"]}},
        {"files": "crawl/*", "format": "warc"},
        {"files": "a.parquet", "html": {}, "fields": {"text": "page"}},
        {"dataset": "x", "fields": {"messages": "m"}},
        {"python_library": {"kinds": ["topics"]}},
        {"skills": {}},
    ],
)
def test_resolved_source_with_all_its_defaults_is_valid_again(declared: dict[str, Any]) -> None:
    source = Source.model_validate(declared)
    assert Source.model_validate(source.model_dump()) == source


def test_kind_of_the_library_named_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="more than once"):
        PythonLibrary(kinds=["topics", "topics"])


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.jsonl", "jsonl"),
        ("A.JSONL.GZ", "jsonl"),
        ("b/c.json.zst", "json"),
        ("x.ndjson", "jsonl"),
        ("x.parquet", "parquet"),
        ("s3://b/x.tsv.gz", "tsv"),
        ("x.md", "text"),
        ("x.HTM", "html"),
        ("CC-MAIN.warc.gz", "warc"),
        ("x.gz", None),
        ("README", None),
        ("x.xlsx", None),
    ],
)
def test_format_is_told_by_the_suffix_before_that_of_compression(name: str, format: str | None) -> None:
    assert format_by_name(name) == format
