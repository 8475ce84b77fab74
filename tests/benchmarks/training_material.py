"""What systems are compared on in `training`: a small Mistral, and GSM8K as samples, padded rows and packed rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from core.models.create import create_model
from core.models.options import ModelConfig
from core.tokens.options import PhaseData
from core.tokens.samples import make_samples
from core.tokens.shards import TokenRows, write_rows
from core.tokens.tokenizer import train_tokenizer
from core.training.batches import IGNORED
from core.training.options import Phase
from core.training.order import make_sampler
from tests.benchmarks.instructions import SEED, dialogues

VOCABULARY = 4096
SEQUENCE_LENGTH = 512
PADDING = 1  # the tokenizer's id of padding
PADDED, PACKED = 8, 4  # samples in a step of padded ones, rows in a step of packed ones
MODEL = ModelConfig(
    hidden_size=192,
    intermediate_size=512,
    num_hidden_layers=6,
    num_attention_heads=6,
    num_key_value_heads=3,
    max_position_embeddings=2048,
)
SAMPLES = pa.schema([("input_ids", pa.list_(pa.int32())), ("labels", pa.list_(pa.int32()))])


def phase(batch: int, steps: int | None = None) -> Phase:
    """What all systems do. batch: rows in a step; steps: none: an epoch."""
    return Phase(
        data=PhaseData(sources=["gsm8k"], sequence_length=SEQUENCE_LENGTH),
        epochs=None if steps else 1,
        max_steps=steps,
        global_batch_size=batch,
        micro_batch_size=batch,
        learning_rate=1e-3,
        schedule="constant",
    )


def made(rows: TokenRows, options: Phase) -> tuple[list[int], list[int]]:
    """Tokens of each step, and how many of them are learned."""
    sampler = make_sampler(len(rows), options, SEED)
    batches = [sampler.batch(step) for step in range(sampler.steps)]
    tokens, targets = ([int(each[batch].sum()) for batch in batches] for each in (rows.lengths, rows.target_tokens))
    return tokens, targets


def make_material(data: Path, directory: Path, samples: int, parts: int) -> dict[str, Any]:
    """Writes below `directory`: model/, and of each part of the samples N-samples, N-padded and N-packed.arrow.

    samples: in a part. N-samples are in the order in which padded rows are trained on, so that who reads them one
    behind the other has the same batches.
    """
    documents = dialogues(data)["gsm8k"]
    tokenizer = train_tokenizer(lambda: [documents], VOCABULARY, 20_000_000)
    model = create_model(MODEL, tokenizer, SEED)
    model.save_pretrained(directory / "model")
    tokenizer.save_pretrained(directory / "model")
    options = phase(PADDED)
    table, account = make_samples(documents.slice(0, samples * parts), tokenizer, options.data)
    for part in range(parts):
        mine = table.slice(part * samples, samples)
        for name, packing in (("padded", False), ("packed", True)):
            write_rows(mine, directory / f"{part}-{name}.arrow", SEQUENCE_LENGTH, packing)
        sampler = make_sampler(len(mine), options, SEED)
        order = np.concatenate([sampler.batch(step) for step in range(sampler.steps)])
        write_samples(mine.take(pa.array(order)), directory / f"{part}-samples.arrow")
    return {
        "parameters": model.num_parameters(),
        "vocabulary": VOCABULARY,
        "sequence_length": SEQUENCE_LENGTH,
        "samples": account.samples,
        "tokens": account.tokens,
        "target_tokens": account.target_tokens,
    }


def write_samples(table: pa.Table, path: Path) -> None:
    """Token ids, and the same as labels where they are learned: what TRL takes."""
    rows = []
    for ids, spans in zip(table["input_ids"].to_pylist(), table["loss_mask"].to_pylist(), strict=True):
        labels = [IGNORED] * len(ids)
        for start, end in zip(spans[::2], spans[1::2], strict=True):
            labels[start:end] = ids[start:end]
        rows.append({"input_ids": ids, "labels": labels})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, SAMPLES) as writer:
        writer.write_table(pa.Table.from_pylist(rows, SAMPLES))
