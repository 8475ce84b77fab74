"""From a file of documents to shards of packed rows, beside `tokenizers`' own batch encoding of the same texts.

Both in this process, on the same cores (Rayon's threads), one after the other several times; of each the fastest run
counts. Part of `packing`.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from core.documents.table import DOCUMENTS
from core.tokens.groups import Groups
from core.tokens.options import PhaseData
from core.tokens.shards import shard_path, write_rows
from ray_jobs.tokenize import tokenize_file

SEQUENCE_LENGTH = 2048
BATCH = 1000  # texts in a call of `encode_batch`
BARE = ("encode_batch", "encode_batch_fast")  # the second without offsets
OURS = "raycipe"


def tokenizing(documents: dict[str, pa.Table], tokenizer: Any, work: Path, repeats: int) -> list[dict[str, Any]]:
    """One row for dialogues, one for the same words as plain texts. Prints them as a table."""
    table = pa.concat_tables(documents.values())
    tokenizer.save_pretrained(work / "tokenizer")
    print(f"\nfrom documents to shards, {os.cpu_count()} cores, million tokens a second and ours as a part of theirs")
    print(f"{'documents':12}{'tokens':>12}{OURS:>10}" + "".join(f"{way:>20}{'wall':>7}{'CPU':>7}" for way in BARE))
    rows = []
    for name, made in (("dialogues", table), ("texts", as_texts(table))):
        file = work / f"{name}.parquet"
        pq.write_table(made, file, compression="zstd")
        texts = rendered(made, tokenizer)
        found: dict[str, dict[str, float]] = {}
        for _ in range(repeats):
            for way in BARE:
                encode = getattr(tokenizer.backend_tokenizer, way)
                keep_faster(found, way, timed(lambda texts=texts, encode=encode: encoded(texts, encode)))
            keep_faster(found, OURS, timed(lambda file=file: to_shards(file, work)))
        row: dict[str, Any] = {"documents": name, "ways": found}
        for way in BARE:
            for kind in ("wall", "cpu"):
                rate = f"tokens_per_{kind}_second"
                row[f"{kind} ratio to {way}"] = found[OURS][rate] / found[way][rate]
        print_row(row)
        rows.append(row)
    return rows


def keep_faster(found: dict[str, dict[str, float]], way: str, took: dict[str, float]) -> None:
    """The best of several runs, in wall and in CPU time each."""
    before = found.setdefault(way, took)
    found[way] = {name: max(value, before[name]) for name, value in took.items()}


def print_row(row: dict[str, Any]) -> None:
    rates = {way: took["tokens_per_wall_second"] / 1e6 for way, took in row["ways"].items()}
    beside = "".join(
        f"{rates[way]:>20.2f}{row[f'wall ratio to {way}']:>7.2f}{row[f'cpu ratio to {way}']:>7.2f}" for way in BARE
    )
    print(f"{row['documents']:12}{row['ways'][OURS]['tokens']:>12,}{rates[OURS]:>10.2f}{beside}", flush=True)


def as_texts(dialogues: pa.Table) -> pa.Table:
    """The contents of dialogues, joined, as documents of plain text."""
    texts = ["\n".join(turn["content"] for turn in turns) for turns in dialogues["messages"].to_pylist()]
    rows = {"id": dialogues["id"], "source": dialogues["source"], "text": pa.array(texts, pa.large_string())}
    nothing = pa.nulls(len(texts))
    columns = [rows.get(field.name, nothing.cast(field.type)) for field in DOCUMENTS]
    return pa.Table.from_arrays(columns, schema=DOCUMENTS)


def rendered(documents: pa.Table, tokenizer: Any) -> list[str]:
    """What is encoded of each document: its text, or its dialogue by the tokenizer's template."""
    messages = documents["messages"].to_pylist()
    texts = documents["text"].to_pylist()
    return [
        tokenizer.apply_chat_template(turns, tokenize=False) if turns else text
        for turns, text in zip(messages, texts, strict=True)
    ]


def encoded(texts: list[str], encode: Callable[..., Any]) -> int:
    batches = (texts[start : start + BATCH] for start in range(0, len(texts), BATCH))
    return sum(len(one) for batch in batches for one in encode(batch, add_special_tokens=False))


def to_shards(file: Path, work: Path) -> int:
    """All that `raycipe tokenize` does with a file, without Ray. Returns the tokens in the rows."""
    directory = work / "shards"
    shutil.rmtree(directory, ignore_errors=True)
    part = directory / ".work" / "00000"
    options = PhaseData(sources=["all"], sequence_length=SEQUENCE_LENGTH)
    tokenize_file(file, part, work / "tokenizer", options, pa.array([], pa.string()))
    account = orjson.loads(Path(f"{part}-account.json").read_bytes())["train"]
    groups = Groups.deal([Path(f"{part}-train.arrow")], [account["samples"]], account["tokens"])
    for number in range(groups.count):
        write_rows(groups.table(number), shard_path(directory, "train", number), SEQUENCE_LENGTH, packing=True)
    return int(account["tokens"])


def timed(work: Callable[[], int]) -> dict[str, float]:
    """How many tokens the work makes, and how many in a second."""
    wall, cpu = time.perf_counter(), time.process_time()
    tokens = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"tokens": tokens, "tokens_per_wall_second": tokens / wall, "tokens_per_cpu_second": tokens / cpu}
