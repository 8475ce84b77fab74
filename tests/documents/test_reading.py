"""Every format in every compression, and everything that can be wrong with a file."""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from core.documents import reading, rows
from core.documents.reading import input_fingerprint, read_shard, shards
from core.documents.source import Source
from core.errors import DataError
from tests.documents.conftest import Read

TEXTS = ["plain words", "Größe, 世界, हिन्दी, e\u0301, 🙂", 'a "quoted", word', "two\nlines", "", "  spaces  "]
PLAIN = {"plain": lambda data: data, "gz": gzip.compress, "zst": zstandard.ZstdCompressor().compress}


def _csv(texts: list[str]) -> bytes:
    rows = "".join(f'{number},"{text.replace(chr(34), chr(34) * 2)}"\n' for number, text in enumerate(texts))
    return f"number,body\n{rows}".encode()


def _tsv(texts: list[str]) -> bytes:
    return ("number\tbody\r\n" + "".join(f"{number}\t{text}\r\n" for number, text in enumerate(texts))).encode()


def _parquet(texts: list[str]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"number": range(len(texts)), "body": texts}), sink, row_group_size=2)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _jsonl(texts: list[str]) -> bytes:
    return "".join(json.dumps({"body": text}, ensure_ascii=False) + "\n" for text in texts).encode()


FORMATS: dict[str, Callable[[list[str]], bytes]] = {
    "jsonl": _jsonl,
    "json": lambda texts: json.dumps([{"body": text} for text in texts]).encode(),
    "csv": _csv,
    "tsv": _tsv,
    "parquet": _parquet,
}


@pytest.mark.parametrize("packed", PLAIN)
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_in_every_compression_gives_the_same_documents(
    tmp_path: Path, read: Read, kind: str, packed: str
) -> None:
    texts = [text for text in TEXTS if kind != "tsv" or "\n" not in text]
    name = f"a.{kind}" + ("" if packed == "plain" else f".{packed}")
    (tmp_path / name).write_bytes(PLAIN[packed](FORMATS[kind](texts)))
    documents, rejected = read(files=name, fields={"text": "body"})
    assert documents["text"].to_pylist() == texts
    assert documents["id"].to_pylist() == [f"s:0:{row}" for row in range(len(texts))]
    assert set(documents["source"].to_pylist()) == {"s"}
    assert rejected.num_rows == 0


@pytest.mark.parametrize("packed", PLAIN)
def test_text_file_is_one_document(tmp_path: Path, read: Read, packed: str) -> None:
    suffix = "" if packed == "plain" else f".{packed}"
    for name, text in (("a.txt", TEXTS[1]), ("b.md", "two\nlines\n")):
        (tmp_path / f"{name}{suffix}").write_bytes(PLAIN[packed](text.encode()))
    documents, _ = read(files=[f"*.txt{suffix}", f"*.md{suffix}"])
    assert documents["text"].to_pylist() == [TEXTS[1], "two\nlines\n"]
    assert documents["id"].to_pylist() == ["s:0:0", "s:1:0"]


@pytest.mark.parametrize("packed", ["gz", "zst"])
def test_several_compressed_frames_are_one_file(tmp_path: Path, read: Read, packed: str) -> None:
    frames = [PLAIN[packed](_jsonl([text])) for text in TEXTS]
    (tmp_path / f"a.jsonl.{packed}").write_bytes(b"".join(frames))
    documents, _ = read(files=f"a.jsonl.{packed}", fields={"text": "body"})
    assert documents["text"].to_pylist() == TEXTS


def test_byte_order_mark_windows_newlines_and_blank_lines_are_no_part_of_the_data(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.jsonl.zst").write_bytes(PLAIN["zst"](b'\xef\xbb\xbf{"body": "x"}\r\n\r\n{"body": "y"}'))
    (tmp_path / "b.csv").write_bytes(b"\xef\xbb\xbfbody,n\r\nx,1\r\n\r\ny,2")
    (tmp_path / "c.json").write_bytes(b'\xef\xbb\xbf[{"body": "x"}]')
    documents, _ = read(files=["a.jsonl.zst", "b.csv", "c.json"], fields={"text": "body"})
    assert documents["text"].to_pylist() == ["x", "y", "x", "y", "x"]
    assert documents["id"].to_pylist() == ["s:0:0", "s:0:2", "s:1:0", "s:1:1", "s:2:0"]


def test_rows_under_a_key_of_a_json_file(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"canary": "x", "examples": [{"body": "one"}, {"body": "two"}]}))
    documents, _ = read(files="a.json", records="examples", fields={"text": "body"})
    assert documents["text"].to_pylist() == ["one", "two"]
    for records, says in ((None, "e.g. records: examples"), ("exmples", "did you mean 'examples'?")):
        with pytest.raises(DataError, match=says):
            read(files="a.json", records=records, fields={"text": "body"})


def test_columns_name_what_a_file_without_header_holds(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.csv").write_text("What?,This\nWhy?,That\n")
    documents, _ = read(files="a.csv", columns=["question", "answer"], fields={"text": "answer"})
    assert documents["text"].to_pylist() == ["This", "That"]


def test_quotation_marks_in_tsv_are_characters(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.tsv").write_text('body\tn\n"Hm", he said\t1\n"open\t2\n')
    documents, _ = read(files="a.tsv", fields={"text": "body"})
    assert documents["text"].to_pylist() == ['"Hm", he said', '"open']


def test_files_of_a_store_are_read_like_local_ones(read: Read) -> None:
    store = fsspec.filesystem("memory")
    store.pipe("/remote/a.jsonl.gz", gzip.compress(_jsonl(TEXTS)))
    store.pipe("/remote/b.parquet", _parquet(TEXTS))
    try:
        documents, _ = read(files=["memory://remote/*.gz", "memory://remote/*.parquet"], fields={"text": "body"})
    finally:
        store.rm("/remote", recursive=True)
    assert documents["text"].to_pylist() == TEXTS + TEXTS


BROKEN: dict[str, tuple[str, bytes, str, str, int]] = {
    # what: (name, bytes, reason, what the message says, rows that are whole)
    "line that is no JSON": (
        "a.jsonl",
        b'{"body": "x"}\n{"body": \n{"body": "y"}\n',
        "broken_json",
        r"a.jsonl:2: not valid JSON: .* at column \d+; expected an object on each line",
        2,
    ),
    "line that is no object": (
        "a.jsonl",
        b'{"body": "x"}\n["y"]\n',
        "not_an_object",
        "a.jsonl:2: found a list of 1, expected an object",
        1,
    ),
    "bytes that are no UTF-8": (
        "a.jsonl",
        b'{"body": "x"}\n{"body": "caf\xe9"}\n{"body": "y"}\n',
        "broken_utf8",
        "a.jsonl:2: not UTF-8: byte 0xe9 at position 14",
        2,
    ),
    "bytes that are no UTF-8 in CSV": (
        "a.csv",
        b"body,n\nx,1\ncaf\xe9,2\ny,3\n",
        "broken_utf8",
        "a.csv:3: not UTF-8: byte 0xe9 at position 4",
        2,
    ),
    "bytes that are no UTF-8 in text": (
        "a.txt",
        b"one\ncaf\xe9\n",
        "broken_utf8",
        "a.txt: not UTF-8: byte 0xe9 at position 8 in line 2",
        0,
    ),
    "bytes that are no UTF-8 in JSON": (
        "a.json",
        b'[\n{"body": "caf\xe9"}]',
        "broken_utf8",
        "a.json: not UTF-8: byte 0xe9 at position 16 in line 2",
        0,
    ),
    "JSON that breaks off": ("a.json", b'[{"body": "x"},\n', "broken_json", r"a.json: not valid JSON: .* at line", 0),
    "JSON Lines called JSON": (
        "a.json",
        b'{"body": "x"}\n{"body": "y"}\n',
        "broken_json",
        "Are these JSON Lines\\? Then say format: jsonl",
        0,
    ),
    "JSON without rows": ("a.json", b'"x"', "no_records", "holds the text 'x', expected a list of objects", 0),
    "row of another width": (
        "a.csv",
        b"body,n\nx,1\ny\nz,3\n",
        "wrong_column_count",
        r"a.csv:3: found 1 columns, expected 2 \(body, n\)",
        2,
    ),
    "quote that is never closed": (
        "a.csv",
        b'body,n\nx,1\n"y,2\nz,3\n',
        "broken_csv",
        "a.csv:4: not valid CSV: unexpected end of data",
        1,
    ),
    "quote in the wrong place": ("a.csv", b'body,n\n"x"y,1\nz,3\n', "broken_csv", "a.csv:2: not valid CSV", 1),
    "column named twice": ("a.csv", b"body,body\nx,y\n", "broken_header", "names the column 'body' more than once", 0),
    "gzip that is none": ("a.jsonl.gz", b'{"body": "x"}\n', "broken_compression", "a.jsonl.gz: not valid .gz data", 0),
    "zstd that is none": ("a.csv.zst", b"body\nx\n", "broken_compression", "a.csv.zst: not valid .zst data", 0),
    "gzip that does not say so": (
        "a.jsonl",
        gzip.compress(b'{"body": "x"}\n'),
        "compressed",
        "a.jsonl: is compressed, but its name does not end in .gz: rename it",
        0,
    ),
    "Parquet that is none": (
        "a.parquet",
        b"PAR1 and then something else entirely",
        "file_truncated",
        "a.parquet: not a whole Parquet file",
        0,
    ),
    "file of no bytes": ("a.jsonl", b"", "empty_file", "a.jsonl: holds no rows, expected at least one", 0),
    "compressed file of no bytes": ("a.jsonl.gz", b"", "empty_file", "a.jsonl.gz: holds no rows", 0),
    "file of blank lines": ("a.jsonl", b"\n\n", "empty_file", "a.jsonl: holds no rows", 0),
    "header alone": ("a.csv", b"body,n\n", "empty_file", "a.csv: holds no rows", 0),
    "list of nothing": ("a.json", b"[]", "empty_file", "a.json: holds no rows", 0),
    "Parquet of no rows": ("a.parquet", _parquet([]), "empty_file", "a.parquet: holds no rows", 0),
    "Parquet of no bytes": ("a.parquet", b"", "broken_parquet", "a.parquet: not a whole Parquet file", 0),
    "Parquet of garbage": (
        "a.parquet",
        b"\x00\xff garbage that no program wrote " * 50,
        "file_truncated",
        "a.parquet: not a whole Parquet file",
        0,
    ),
    "HTML of no bytes": ("a.html", b"", "empty_file", "a.html: holds no rows", 0),
    "WARC of no bytes": ("a.warc", b"", "empty_file", "a.warc: holds no rows", 0),
    "text of no bytes": ("a.txt", b"", "empty_file", "a.txt: holds no rows", 0),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_file_stops_with_its_place_or_is_listed_beside_the_rows_that_are_whole(
    tmp_path: Path, read: Read, what: str
) -> None:
    name, data, reason, says, whole = BROKEN[what]
    (tmp_path / name).write_bytes(data)
    declared: dict[str, Any] = {"files": name} | (
        {} if name.endswith(("txt", "html", "warc")) else {"fields": {"text": "body"}}
    )
    with pytest.raises(DataError, match=says) as error:
        read(**declared)
    assert str(error.value).startswith(str(tmp_path))
    assert "on_error: skip" in str(error.value)
    assert len(str(error.value).splitlines()) == 2
    documents, rejected = read(**declared, on_error="skip")
    assert documents.num_rows == whole
    assert (rejected["step"].to_pylist(), rejected["reason"].to_pylist()) == (["read"], [reason])
    assert rejected["evidence"][0].as_py() in str(error.value)


def test_rejected_row_keeps_its_text_and_its_number(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.jsonl").write_text('{"body": "x"}\n{"body": \n{"body": "y"}\n')
    documents, rejected = read(files="a.jsonl", fields={"text": "body"}, on_error="skip")
    assert documents["id"].to_pylist() == ["s:0:0", "s:0:2"]
    assert rejected["id"].to_pylist() == ["s:0:1"]
    assert rejected["text"].to_pylist() == ['{"body": ']


@pytest.mark.parametrize("packed", ["gz", "zst"])
def test_truncated_compressed_file_is_named_with_the_rows_read_before_it(
    tmp_path: Path, read: Read, packed: str
) -> None:
    noise = random.Random(0)
    texts = [noise.randbytes(50).hex() for _ in range(5000)]
    data = PLAIN[packed](_jsonl(texts))
    (tmp_path / f"a.jsonl.{packed}").write_bytes(data[: len(data) * 2 // 3])
    declared: dict[str, Any] = {"files": f"a.jsonl.{packed}", "fields": {"text": "body"}}
    with pytest.raises(DataError, match=rf"a.jsonl.{packed}: the .{packed} data break off .* after [\d,]+ rows"):
        read(**declared)
    documents, rejected = read(**declared, on_error="skip")
    count = documents.num_rows
    assert 1000 < count < 5000
    assert documents["text"].to_pylist() == texts[:count]
    assert rejected["reason"].to_pylist() == ["file_truncated"]
    assert f"after {count:,} rows" in rejected["evidence"][0].as_py()


@pytest.mark.parametrize("cut", [1, 4, 100])
@pytest.mark.parametrize("packed", ["gz", "zst"])
def test_file_that_lacks_its_last_bytes_is_not_taken_for_whole(
    tmp_path: Path, read: Read, packed: str, cut: int
) -> None:
    data = PLAIN[packed](_jsonl([random.Random(row).randbytes(40).hex() for row in range(50)]))
    (tmp_path / f"a.jsonl.{packed}").write_bytes(data[:-cut])
    with pytest.raises(DataError, match="truncated"):
        read(files=f"a.jsonl.{packed}", fields={"text": "body"})


@pytest.mark.parametrize("kind", ["jsonl.gz", "parquet"])
def test_one_corrupt_file_among_many_is_named_and_the_others_are_read(tmp_path: Path, read: Read, kind: str) -> None:
    for number in range(20):
        texts = [f"text {number}"]
        data = _parquet(texts) if kind == "parquet" else gzip.compress(_jsonl(texts))
        (tmp_path / f"part-{number:02d}.{kind}").write_bytes(data if number != 11 else b"garbage")
    with pytest.raises(DataError, match=rf"part-11\.{kind}"):
        read(files=f"part-*.{kind}", fields={"text": "body"})
    documents, rejected = read(files=f"part-*.{kind}", fields={"text": "body"}, on_error="skip")
    assert documents["id"].to_pylist() == [f"s:{number}:0" for number in range(20) if number != 11]
    assert rejected["id"].to_pylist() == ["s:11"]


def test_file_that_goes_away_after_it_was_listed_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(_jsonl(TEXTS))
    [shard] = shards("s", Source.model_validate({"files": "a.jsonl", "fields": {"text": "body"}}), tmp_path)
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(DataError, match=r"a.jsonl: no such file"):
        list(read_shard(shard, 1))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_file_that_may_not_be_read_is_named(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.jsonl").write_bytes(_jsonl(TEXTS))
    (tmp_path / "a.jsonl").chmod(0)
    with pytest.raises(DataError, match="permission denied"):
        read(files="a.jsonl", fields={"text": "body"})


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_large_file_in_parts_gives_the_same_documents_as_in_one(
    tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    texts = [f"{number} {'x' * (number % 90)}" for number in range(500)]
    (tmp_path / f"a.{kind}").write_bytes(FORMATS[kind](texts))
    declared: dict[str, Any] = {"files": f"a.{kind}", "fields": {"text": "body"}}
    whole, _ = read(**declared)
    monkeypatch.setattr(reading, "SHARD_BYTES", 3000)
    assert len(shards("s", Source.model_validate(declared), tmp_path)) > 3
    parts, _ = read(**declared)
    assert parts.equals(whole)
    assert parts["text"].to_pylist() == texts


def test_batches_stay_small_and_keep_their_order(tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [str(number) for number in range(1000)]
    (tmp_path / "a.jsonl").write_bytes(_jsonl(texts))
    monkeypatch.setattr(reading, "BATCH_BYTES", 1000)
    monkeypatch.setattr(rows, "BLOCK", 200)
    [shard] = shards("s", Source.model_validate({"files": "a.jsonl", "fields": {"text": "body"}}), tmp_path)
    batches = [documents for documents, _ in read_shard(shard, 1)]
    assert max(batch.num_rows for batch in batches) < 100
    assert pa.concat_tables(batches)["text"].to_pylist() == texts


def test_fingerprint_changes_with_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(_jsonl(["x"]))
    source = Source.model_validate({"files": "a.jsonl", "fields": {"text": "body"}})

    def now() -> str:
        return input_fingerprint(shards("s", source, tmp_path)[0])

    before = now()
    assert now() == before
    path.write_bytes(_jsonl(["longer"]))
    assert now() != before


def test_generated_skills_are_a_source_with_a_held_out_split(read: Read) -> None:
    train, _ = read(skills={"rows": 200})
    held_out, _ = read(skills={"rows": 200}, part="heldout")
    assert train.num_rows == 200
    assert held_out.num_rows > 0
    assert not set(train["id"].to_pylist()) & set(held_out["id"].to_pylist())
