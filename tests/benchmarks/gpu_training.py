"""Training on one GPU, without Ray: tokens per second, MFU and peak memory of a 1B and a 7B Mistral.

    python -m tests.benchmarks.gpu_training --out FILE.json
    python -m tests.benchmarks.gpu_training --sizes 7b --methods qlora --variants all none
    python -m tests.benchmarks.gpu_training --tiny

Weights are random; so are the tokens, in samples whose lengths are drawn from a log-normal distribution and whose
second half is learned. Every row of the table is a process of its own that builds the model as `raycipe train` does and
trains by `core.training.trainer.Run`: what does not fit is a row that says so. With all of packing, Liger kernels,
torch.compile and gradient checkpointing, without one of them each, and with none. Padding does not count as tokens. The
first steps are not timed. Needs bitsandbytes, for Liger also the extra `liger`, and on disk 2 bytes per parameter.

full: all weights, in bf16 over fp32 master weights, with AdamW, for 7B paged in 8 bits. qlora: adapters on all linear
layers over NF4, with paged AdamW. --tiny: a tiny model on whatever device, to see that all this runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import orjson
import torch

from core.models.create import create_model
from core.models.options import Attention, Model, ModelConfig
from core.tokens.options import PhaseData
from core.tokens.shards import TokenRows, write_rows
from core.tokens.tokenizer import load_tokenizer, train_tokenizer
from core.training.devices import device_of
from core.training.engine import World
from core.training.log import LOG
from core.training.options import Phase
from core.training.phase import Start, build_model
from core.training.trainer import Run
from tests.benchmarks.instructions import SEED, log_normal_lengths
from tests.benchmarks.measured_process import measured
from tests.benchmarks.packing import samples_of
from tests.tokens.conftest import text_documents

ROOT = Path(__file__).parents[2]
VOCABULARY = 32_000
TINY = "tiny"
SIZES: dict[str, dict[str, Any]] = {
    TINY: {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
    "1b": {"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 32},
    "7b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32},
}
KEY_VALUE_HEADS = {TINY: 2, "1b": 4, "7b": 8}
OPTIMIZERS = {("7b", "full"): "paged_adamw_8bit"}
METHOD_OPTIMIZERS = {"full": "adamw", "qlora": "paged_adamw_32bit"}
SWITCHES = ("packing", "liger", "compile", "checkpointing")
ON_CPU = ("packing", "checkpointing")
WARM_UP, READINGS = 3, 4  # steps that are not timed, as many as in a reading; readings
TO_COMPARE = (
    "2,413 tokens/s, 7.4 GiB: QLoRA of Llama 3.1 8B on one RTX 4090 (torchtune)",
    "54.8 % MFU: a 7B model in full on eight A100 (llm-foundry)",
)
TIMEOUT = 1800  # seconds for one row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", choices=list(SIZES), default=["1b", "7b"])
    parser.add_argument("--methods", nargs="*", choices=list(METHOD_OPTIMIZERS), default=list(METHOD_OPTIMIZERS))
    parser.add_argument("--variants", nargs="*", metavar="VARIANT", help="all, 'no packing', ..., none; default: each")
    parser.add_argument("--attention", default="sdpa", help="as a recipe's model.attention")
    parser.add_argument("--sequence-length", type=int, default=2048, help="tokens in a row")
    parser.add_argument("--batch", type=int, default=8, help="rows in a step")
    parser.add_argument("--micro-batch", type=int, default=2, help="rows in a forward pass")
    parser.add_argument("--tiny", action="store_true", help="a tiny model and short rows")
    parser.add_argument("--work", type=Path, help="directory for the models, which are deleted in the end")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    parser.add_argument("--row", help=argparse.SUPPRESS)  # what such a process of its own is told
    arguments = parser.parse_args()
    if arguments.row:
        print(json.dumps(measure(**json.loads(arguments.row))))
        return
    if arguments.tiny:
        arguments.sizes, arguments.sequence_length = [TINY], 128

    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    known = variants(SWITCHES if device != "cpu" else ON_CPU)
    chosen = {name: known[name] for name in arguments.variants or known}
    print(f"{device_of(device).name}\n{'model':7}{'method':8}{'variant':18}{'tokens/s':>10}{'MFU':>8}{'peak GiB':>10}")
    rows = []
    with tempfile.TemporaryDirectory(dir=arguments.work) as directory:
        for size in arguments.sizes:
            model = Path(directory) / size
            make_model(model, size, arguments.sequence_length)
            for method in arguments.methods:
                for name, switches in chosen.items():
                    row = {"model": size, "method": method, "variant": name}
                    settings = {
                        "directory": str(model),
                        "device": device,
                        "switches": switches,
                        "method": method,
                        "optimizer": OPTIMIZERS.get((size, method), METHOD_OPTIMIZERS[method]),
                        "attention": arguments.attention,
                        "sequence_length": arguments.sequence_length,
                        "batch": arguments.batch,
                        "micro_batch": arguments.micro_batch,
                    }
                    rows.append(row | in_its_own_process(settings))
                    print(line(rows[-1]), flush=True)
    print("to compare with:", *TO_COMPARE, sep="\n  ")
    if arguments.out:
        about = {"device": device_of(device).name, "torch": torch.__version__, "attention": arguments.attention}
        about |= {key: getattr(arguments, key) for key in ("sequence_length", "batch", "micro_batch")}
        arguments.out.write_text(json.dumps({"about": about, "rows": rows, "to_compare": TO_COMPARE}, indent=2) + "\n")


def variants(switches: tuple[str, ...]) -> dict[str, list[str]]:
    """What is on, by the variant's name."""
    without = {f"no {off}": [switch for switch in switches if switch != off] for off in switches}
    return {"all": list(switches), **without, "none": []}


def make_model(directory: Path, size: str, sequence_length: int) -> None:
    """Random weights in bf16, a tokenizer of as many ids, and rows of random tokens, packed and not."""
    tokenizer = train_tokenizer(lambda: [text_documents(["some text"])], 400, 1000)
    tokenizer.add_tokens([f"<{number}>" for number in range(VOCABULARY - len(tokenizer))])
    config = ModelConfig(**SIZES[size], num_key_value_heads=KEY_VALUE_HEADS[size], max_position_embeddings=8192)
    torch.set_default_dtype(torch.bfloat16)
    try:
        create_model(config, tokenizer, SEED).save_pretrained(directory)
    finally:
        torch.set_default_dtype(torch.float32)
    tokenizer.save_pretrained(directory)
    samples = samples_of(log_normal_lengths(2000, sequence_length))
    for packing in (True, False):
        write_rows(samples, rows_path(directory, packing), sequence_length, packing)


def rows_path(directory: Path, packing: bool) -> Path:
    return directory / ("packed.arrow" if packing else "padded.arrow")


def in_its_own_process(settings: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.gpu_training", "--row", json.dumps(settings)]
    took = measured(command, ROOT, TIMEOUT, {"HF_HUB_OFFLINE": "1"})
    said = took.output.strip().splitlines() or ["no message"]
    if not took.status:
        found: dict[str, Any] = json.loads(said[-1])
        return found
    if "out of memory" in took.output.lower() or "does not fit" in took.output:
        return {"note": "out of memory"}
    return {"note": f"ended with {took.status}: {said[-1]}"}


def measure(
    directory: str,
    device: str,
    switches: list[str],
    method: Any,
    optimizer: Any,
    attention: Attention,
    sequence_length: int,
    batch: int,
    micro_batch: int,
) -> dict[str, Any]:
    """Trains for some steps. mfu is left out where the device's peak is not known."""
    packing = "packing" in switches
    options = Phase(
        data=PhaseData(sources=["random"], sequence_length=sequence_length, packing=packing),
        method=method,
        optimizer=optimizer,
        precision="bf16",
        kernels="liger" if "liger" in switches else "torch",
        compile="compile" in switches,
        gradient_checkpointing="checkpointing" in switches,
        max_steps=WARM_UP * (1 + READINGS),
        global_batch_size=batch,
        micro_batch_size=micro_batch,
        log_every_steps=WARM_UP,
    )
    world = World(device=device)
    tokenizer = load_tokenizer(directory)
    model = build_model(Start(Model(base=directory, attention=attention), None, SEED), options, tokenizer, world)
    rows = TokenRows([rows_path(Path(directory), packing)])
    with tempfile.TemporaryDirectory() as place:
        Run(model, rows, None, options, world, SEED, tokenizer.pad_token_id, Path(place), "benchmark").train()
        lines = [orjson.loads(line) for line in (Path(place) / LOG).read_bytes().splitlines()]
    timed = lines[1:]
    found = {
        name: statistics.median(each[name] for each in timed)
        for name in ("tokens_per_second", "target_tokens_per_second", "mfu")
        if name in timed[0]
    }
    return {**found, "peak_gib": timed[-1]["memory_bytes"] / 2**30, "loss": timed[-1]["loss"]}


def line(row: dict[str, Any]) -> str:
    """One line of the table."""
    name = f"{row['model']:7}{row['method']:8}{row['variant']:18}"
    if "note" in row:
        return f"{name}{row['note']}"
    mfu = f"{row['mfu']:>8.1%}" if "mfu" in row else f"{'–':>8}"
    return f"{name}{row['tokens_per_second']:>10,.0f}{mfu}{row['peak_gib']:>10.2f}"


if __name__ == "__main__":
    main()
