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
from core.tokens.shards import write_rows
from core.tokens.tokenizer import PADDING as PADDING_TOKEN
from core.tokens.tokenizer import train_tokenizer
from core.training.options import Phase
from core.training.order import make_sampler
from tests.benchmarks.instructions import SEED, dialogues

VOCABULARY = 4096
SEQUENCE_LENGTH = 512
PADDING = 1  # the id of the tokenizer's PADDING_TOKEN
PADDED, PACKED = 8, 4  # samples in a step of padded ones, rows in a step of packed ones: about as many tokens
WARM_UP = 5  # steps that are not timed
MODEL = ModelConfig(
    hidden_size=192,
    intermediate_size=512,
    num_hidden_layers=6,
    num_attention_heads=6,
    num_key_value_heads=3,
    max_position_embeddings=2048,
)
DATA = PhaseData(sources=["gsm8k"], sequence_length=SEQUENCE_LENGTH)
SAMPLES = pa.schema([("input_ids", pa.list_(pa.int32())), ("completion_mask", pa.list_(pa.int32()))])


def phase(batch: int) -> dict[str, Any]:
    """The settings that all share, by a phase's names. batch: rows in a step."""
    return {
        "epochs": 1.0,
        "max_steps": None,
        "global_batch_size": batch,
        "micro_batch_size": batch,
        "learning_rate": 1e-3,
        "schedule": "constant",
        "max_gradient_norm": 1.0,
    }


def make_material(data: Path, directory: Path, samples: int, parts: int) -> dict[str, Any]:
    """Writes below `directory`: model/, and of each part of the samples N-samples, N-padded and N-packed.arrow.

    The samples are in the order in which padded rows are trained on, so that who reads them one behind the other has
    the same batches.
    """
    documents = dialogues(data)["gsm8k"]
    tokenizer = train_tokenizer(lambda: [documents], VOCABULARY, 20_000_000)
    assert tokenizer.convert_tokens_to_ids(PADDING_TOKEN) == PADDING
    model = create_model(MODEL, tokenizer, SEED)
    model.save_pretrained(directory / "model")
    tokenizer.save_pretrained(directory / "model")
    table, _ = make_samples(documents.slice(0, samples), tokenizer, DATA)
    size = len(table) // parts
    for part in range(parts):
        mine = table.slice(part * size, size)
        for name, packing in (("padded", False), ("packed", True)):
            write_rows(mine, directory / f"{part}-{name}.arrow", SEQUENCE_LENGTH, packing)
        sampler = make_sampler(size, Phase.model_construct(**phase(PADDED)), SEED)
        order = np.concatenate([sampler.batch(step) for step in range(sampler.steps)])
        write_samples(mine.take(pa.array(order)), directory / f"{part}-samples.arrow")
    return {
        "parameters": model.num_parameters(),
        "samples": size * parts,
        "tokens": len(pa.compute.list_flatten(table["input_ids"])),
        "target_tokens": pa.compute.sum(table["target_tokens"]).as_py(),
        "vocabulary": VOCABULARY,
        "sequence_length": SEQUENCE_LENGTH,
    }


def write_samples(table: pa.Table, path: Path) -> None:
    """Token ids, and for each whether it is learned: what TRL takes."""
    rows = []
    for ids, spans in zip(table["input_ids"].to_pylist(), table["loss_mask"].to_pylist(), strict=True):
        mask = np.zeros(len(ids), np.int32)
        for start, end in zip(spans[::2], spans[1::2], strict=True):
            mask[start:end] = 1
        rows.append({"input_ids": ids, "completion_mask": mask})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, SAMPLES) as writer:
        writer.write_table(pa.Table.from_pylist(rows, SAMPLES))


def resident_mb() -> float:
    """This process's memory now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0
