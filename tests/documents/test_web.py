"""HTML files, columns of HTML and web archives."""

from __future__ import annotations

import gzip
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType
from hypothesis import given, settings
from hypothesis import strategies as st
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding

from core.documents import warc
from core.documents.html import Html, TooDeep, decoded, extracted
from core.documents.reading import read_shard, shards
from core.documents.source import Source
from core.documents.streams import Unreadable
from core.errors import DataError
from tests.documents.conftest import Read

PAGE = """<html><head><title>A title</title></head><body><nav><a href="/">Menu</a></nav>
<main><h1>Heading</h1><p>Some <b>words</b> and <a href="/more">a link</a>.</p><ol>
<li>The first of all things that there are</li>
<li>The second of them, and it is the last</li></ol>
<p>Größe <img src="x.png" alt="a picture"></p><noscript>No scripts</noscript>
<form><input value="typed in"></form></main><section id="comments" class="comments"><p>A comment</p></section>
<div class="aside">Aside</div></body></html>"""


def record(
    number: int,
    body: bytes = PAGE.encode(),
    status: str = "200 OK",
    http: str = "Content-Type: text/html; charset=utf-8\r\n",
    kind: str = "response",
    content_type: str = "application/http; msgtype=response",
) -> bytes:
    block = f"HTTP/1.1 {status}\r\n{http}\r\n".encode() + body
    if kind != "response":
        block = body
    header = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: http://example.org/{number}\r\n"
        f"WARC-Date: 2024-02-03T04:05:06Z\r\nWARC-Record-ID: <urn:uuid:{number}>\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return header.encode() + block + b"\r\n\r\n"


def archive(name: str, *records: bytes) -> bytes:
    return b"".join(gzip.compress(each) if name.endswith(".gz") else each for each in records)


def test_html_file_is_one_document_as_resiliparse_gives_it(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.html").write_text(PAGE)
    (tmp_path / "b.htm.gz").write_bytes(gzip.compress(PAGE.replace("utf-8", "").encode("latin-1")))
    documents, _ = read(files=["*.html", "*.htm.gz"])
    text = extract_plain_text(PAGE, main_content=True, alt_texts=False).strip()
    assert documents["text"].to_pylist() == [text, text]
    assert "Größe" in text
    assert "Menu" not in text
    assert documents["id"].to_pylist() == ["s:0:0", "s:1:0"]
    assert documents["meta"].null_count == 2


def test_encoding_is_the_declared_one_or_the_one_it_looks_like(tmp_path: Path, read: Read) -> None:
    declared = "<meta charset=windows-1251><p>Привет, мир! Как дела сегодня?</p>".encode("cp1251")
    looks = "<p>日本語のテキストです。今日は天気がいい。</p>".encode("shift_jis")
    for name, page in (("a", declared), ("b", looks)):
        (tmp_path / f"{name}.html").write_bytes(page)
    documents, _ = read(files="*.html")
    assert documents["text"].to_pylist() == [
        "Привет, мир! Как дела сегодня?",
        "日本語のテキストです。今日は天気がいい。",
    ]


def test_long_page_is_utf8_also_where_only_its_middle_shows_it() -> None:
    page = f"<p>{'words ' * 50_000} Größe {'words ' * 50_000}</p>"
    assert detect_encoding(page.encode(), from_html_meta=True) == "cp1252"
    assert decoded(page.encode()) == page
    assert decoded(page.encode("cp1252")) == page


@pytest.mark.parametrize(
    ("option", "value", "there", "gone"),
    [
        ("main_content", False, ["Menu"], []),
        ("preserve_formatting", False, ["Heading Some words"], ["\n"]),
        ("preserve_formatting", "minimal_html", ["<h1>Heading</h1>"], []),
        ("list_bullets", False, [], ["1. The first"]),
        ("alt_texts", True, ["a picture"], []),
        ("links", True, ["a link (/more)"], []),
        ("form_fields", True, ["typed in"], []),
        ("noscript", True, ["No scripts"], []),
        ("comments", False, [], ["A comment"]),
        ("skip_elements", ["h1"], [], ["Heading"]),
    ],
)
def test_every_option_changes_what_becomes_text(option: str, value: Any, there: list[str], gone: list[str]) -> None:
    usual = extracted(PAGE, Html())
    changed = extracted(PAGE, Html.model_validate({option: value}))
    assert changed != usual
    assert all(part in changed and part not in usual for part in there)
    assert all(part not in changed and part in usual for part in gone)


def test_selector_that_is_none_is_refused_with_the_recipe() -> None:
    with pytest.raises(ValueError, match=r"'a\[' is no CSS selector"):
        Html(skip_elements=["a["])


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "bytes"])
def test_column_of_html_becomes_text(tmp_path: Path, read: Read, kind: str) -> None:
    pages = [PAGE, "<p></p>", "<p>Größe</p>"]
    if kind == "jsonl":
        (tmp_path / "a.jsonl").write_text("".join(json.dumps({"page": page}) + "\n" for page in pages))
    else:
        column = pa.array([page.encode("latin-1") for page in pages] if kind == "bytes" else pages)
        pq.write_table(pa.table({"page": column}), tmp_path / "a.parquet")
    documents, rejected = read(files=f"a.{'jsonl' if kind == 'jsonl' else 'parquet'}", html={}, fields={"text": "page"})
    assert documents["text"].to_pylist() == [extracted(PAGE, Html()), "Größe"]
    assert rejected.select(["id", "reason", "text"]).to_pylist() == [
        {"id": "s:0:1", "reason": "empty_extraction", "text": "<p></p>"}
    ]


def test_column_of_html_in_a_dataset_becomes_text(tmp_path: Path, read: Read) -> None:
    datasets.Dataset.from_dict({"page": [PAGE, "<p>Größe</p>"]}).save_to_disk(tmp_path / "saved")
    documents, _ = read(dataset="saved", html={"links": True}, fields={"text": "page"})
    assert documents["text"].to_pylist() == [extracted(PAGE, Html(links=True)), "Größe"]


def test_column_that_holds_no_page_stops(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.jsonl").write_text('{"page": 5}\n')
    with pytest.raises(DataError, match=r"a.jsonl:1: fields.text: column 'page' holds the number 5, expected an HTML"):
        read(files="a.jsonl", html={}, fields={"text": "page"})


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz"])
def test_archive_gives_its_pages_and_lists_what_is_none(tmp_path: Path, read: Read, name: str) -> None:
    data = archive(
        name,
        record(0, b"software: x\r\n", kind="warcinfo", content_type="application/warc-fields"),
        record(1, b"GET / HTTP/1.1\r\n\r\n", kind="request", content_type="application/http; msgtype=request"),
        record(2),
        record(3, b"{}", http="Content-Type: application/json\r\n"),
        record(4, b"not here", "404 Not Found"),
        record(5, b"<p> </p>"),
        record(6, b"text", kind="conversion", content_type="text/plain"),
        record(7, b"1.2.3.4", kind="response").replace(b"application/http; msgtype=response", b"text/dns"),
        record(8, b"<p>last</p>", http="Content-Type: application/xhtml+xml\r\n"),
        record(9, b"<p>typeless</p>", http=""),
    )
    (tmp_path / name).write_bytes(data)
    documents, rejected = read(files=name)  # none of it stops
    assert documents["id"].to_pylist() == ["s:0:2", "s:0:8"]
    assert documents["text"].to_pylist() == [extracted(PAGE, Html()), "last"]
    assert json.loads(documents["meta"][0].as_py()) == {
        "url": "http://example.org/2",
        "date": "2024-02-03T04:05:06Z",
        "record_id": "<urn:uuid:2>",
        "content_type": "text/html",
    }
    assert dict(zip(rejected["id"].to_pylist(), rejected["reason"].to_pylist(), strict=True)) == {
        "s:0:3": "not_html",
        "s:0:4": "http_status",
        "s:0:5": "empty_extraction",
        "s:0:6": "not_a_response",
        "s:0:7": "not_html",
        "s:0:9": "not_html",
    }
    assert (
        f"{name} record 5: the server answered 404, expected 200 (http://example.org/4)"
        in rejected["evidence"][1].as_py()
    )


def test_archive_is_read_as_fastwarc_and_resiliparse_read_it(tmp_path: Path, read: Read) -> None:
    body = gzip.compress(b"<p>packed</p>")
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    http = "Content-Type: text/html\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n"
    pages = [PAGE.encode(), PAGE.encode("latin-1"), "<p>日本語のテキスト</p>".encode("euc-jp")]
    data = archive(
        "a.warc.gz", *(record(number, page) for number, page in enumerate(pages)), record(9, chunked, http=http)
    )
    (tmp_path / "a.warc.gz").write_bytes(data)
    expected = []
    for each in ArchiveIterator(io.BytesIO(data), record_types=WarcRecordType.response, auto_decode="all"):
        page = each.reader.read()
        text = bytes_to_str(page, detect_encoding(page, from_html_meta=True))
        expected.append(extract_plain_text(text, main_content=True, alt_texts=False).strip())
    documents, _ = read(files="a.warc.gz")
    assert documents["text"].to_pylist() == expected
    assert expected[-1] == "packed"


def test_archive_of_a_store_is_read(read: Read) -> None:
    store = fsspec.filesystem("memory")
    store.pipe("/remote/a.warc.gz", archive("a.warc.gz", record(1)))
    try:
        documents, _ = read(files="memory://remote/a.warc.gz")
    finally:
        store.rm("/remote", recursive=True)
    assert documents["id"].to_pylist() == ["s:0:0"]


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz"])
@pytest.mark.parametrize("lost", [40, 400, 1400])
def test_archive_that_breaks_off_is_named_with_what_was_read(tmp_path: Path, read: Read, name: str, lost: int) -> None:
    whole = [archive(name, record(number)) for number in range(5)]
    data = b"".join(whole)[: -min(lost, len(whole[0]) - 10)]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=rf"{name}: .*truncated after 4 rows"):
        read(files=name)
    documents, rejected = read(files=name, on_error="skip")
    assert documents["id"].to_pylist() == [f"s:0:{number}" for number in range(4)]
    assert rejected["reason"].to_pylist() == ["file_truncated"]


def test_archive_that_breaks_off_within_any_line_of_a_header_is_truncated(tmp_path: Path) -> None:
    header = record(1).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    for size in range(1, len(header) + 1):
        (tmp_path / "a.warc").write_bytes(record(0) + header[:size])
        with pytest.raises(Unreadable) as error:
            list(warc.web_pages(str(tmp_path / "a.warc")))
        assert error.value.reason == "file_truncated", header[:size]


BROKEN = {
    "garbage between records": (b"something else\r\nand more\r\n\r\n", "found b'something else"),
    "length that is none": (record(1).replace(b"Content-Length: ", b"Content-Length: x", 1), "Content-Length is 'x"),
    "line without a colon": (
        record(1).replace(b"WARC-Date: 2024-02-03T04:05:06Z", b"WARC-Date"),
        "expected a name and a colon",
    ),
    "body that cannot be decoded": (
        record(1, b"5\r\nnot gzip", http="Content-Type: text/html\r\nContent-Encoding: gzip\r\n"),
        "its HTTP response cannot be read",
    ),
    "no HTTP header": (record(1).replace(b"HTTP/1.1 200 OK\r\n", b"1234567890abcde\r\n"), "its HTTP header cannot be"),
    "HTTP status that is none": (record(1, status="abc OK"), "its HTTP header cannot be read"),
    "header without an end": (b"WARC/1.0\r\n" + b"a: b\r\n" * 2000, "its header has more than 1,000 lines"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_record_is_named_and_the_others_are_read(tmp_path: Path, read: Read, what: str) -> None:
    broken, says = BROKEN[what]
    (tmp_path / "a.warc").write_bytes(record(0) + broken + record(2))
    with pytest.raises(DataError, match=r"a.warc record 2: "):
        read(files="a.warc")
    documents, rejected = read(files="a.warc", on_error="skip")
    assert documents["id"].to_pylist() == ["s:0:0", "s:0:2"]
    assert rejected["reason"].to_pylist() == ["broken_record"]
    assert says in rejected["evidence"][0].as_py()


def test_file_that_is_no_archive_is_named(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.warc").write_bytes(b"<html>a page</html>")
    with pytest.raises(DataError, match=r"a.warc: begins with b'<html>a page</html>', expected a record: WARC/1.0"):
        read(files="a.warc")


def test_record_too_long_to_be_a_page_is_passed_over(
    tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warc, "LARGEST", 2000)
    (tmp_path / "a.warc").write_bytes(record(0) + record(1, b"x" * 5000) + record(2))
    documents, rejected = read(files="a.warc")
    assert documents["id"].to_pylist() == ["s:0:0", "s:0:2"]
    assert rejected["reason"].to_pylist() == ["too_long"]


@settings(deadline=None)
@given(st.lists(st.integers(0, 2500), max_size=3), st.binary(max_size=12))
def test_damaged_archive_never_crashes_and_says_so(
    tmp_path_factory: pytest.TempPathFactory, places: list[int], noise: bytes
) -> None:
    data = bytearray(record(0) + record(1) + record(2))
    for place in places:
        data[place : place + len(noise)] = noise
    path = tmp_path_factory.mktemp("damaged") / "a.warc"
    path.write_bytes(data)
    source = Source.model_validate({"files": str(path), "on_error": "skip"})
    reasons: Counter[str] = Counter()
    count = 0
    for shard in shards("s", source, path.parent):
        for documents, rejected in read_shard(shard, 0):
            count += documents.num_rows
            reasons.update(rejected["reason"].to_pylist())
    assert count + sum(reasons.values()) >= 1


def test_page_nested_without_end_is_passed_over_in_no_time(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.html").write_text("<div>" * 100_000 + "<p>deep</p>")
    (tmp_path / "b.html").write_text("<main>" + "<p>some words<br>" * 20_000)  # many tags, but not nested
    documents, rejected = read(files="*.html")
    assert documents["id"].to_pylist() == ["s:1:0"]
    assert rejected["reason"].to_pylist() == ["too_deep"]
    with pytest.raises(TooDeep):
        extracted("<section>" * 3000, Html())
