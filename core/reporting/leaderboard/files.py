"""Files of any kind that a leaderboard is made of, and the one table that they become."""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from core.errors import DataError
from core.reporting.leaderboard.entries import Entry, Source
from core.reporting.leaderboard.results import read_lm_eval, read_run
from core.reporting.leaderboard.snapshots import read_csv, read_json

SCHEMA = pa.schema(
    [
        ("date", pa.date32()),
        ("model", pa.string()),
        ("benchmark", pa.string()),
        ("shots", pa.int64()),
        ("score", pa.float64()),
        ("parameters", pa.int64()),
        ("parameters_from", pa.string()),
        ("url", pa.string()),
    ]
)


def read_source(path: Path) -> Source:
    """A snapshot (.csv, .json, .gz too), an lm-eval result file or a run's scores.json, told by what it holds.

    Raises DataError naming file and line for what is wrong with it.
    """
    text = _text(path)
    if path.name.removesuffix(".gz").endswith(".csv"):
        return read_csv(path, text)
    if not text.strip():
        raise DataError(f"{path}:1: the file is empty")
    if text.lstrip()[0] == "[":
        return read_json(path, text)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}:{getattr(error, 'lineno', 1)}: neither CSV by its name nor valid JSON: {error}"
        ) from error
    if isinstance(content, dict) and "results" in content:
        return read_lm_eval(path, content)
    if isinstance(content, dict) and {"models", "scores"} <= content.keys():
        return read_run(path, content)
    raise DataError(
        f"{path}:1: neither a list of rows (a snapshot), nor with the key results (lm-eval), nor with models and "
        "scores (a run's evaluate/scores.json)"
    )


def tidy_table(entries: Sequence[Entry]) -> pa.Table:
    """A row for each score, in the order of entries.

    Columns: date, model, benchmark, shots (null: not told), score (percent), parameters (how many; null: not known),
    parameters_from ("name": read from the model's name, "file": told by a file), url.
    """
    rows = [
        (entry.date, entry.model, *benchmark, float(score), *entry.parameters, entry.url)
        for entry in entries
        for benchmark, score in entry.scores.items()
    ]
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: a broken gzip file ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: not UTF-8: byte {error.object[error.start]:#04x}") from error
