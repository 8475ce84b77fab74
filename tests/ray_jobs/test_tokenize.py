"""Tokenizing a phase: many shards, made by any number of workers, stopped at any moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ray_jobs.tokenize
from core.artifacts.stage import Stage
from core.documents.table import DOCUMENTS
from core.errors import DataError
from core.recipe.resolve import load_recipe
from core.tokens.shards import TokenRows
from ray_jobs.job import Job
from ray_jobs.progress import Reporter
from ray_jobs.session import RaySession
from ray_jobs.tokenize import tokenize

RECIPE = """\
name: small
model:
  config: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 4}
  tokenizer: {train: {vocabulary: 300, sources: [stories]}}
data:
  sources:
    stories: {files: stories.jsonl, fields: {text: text}}
    answers: {files: answers.jsonl, fields: {messages: messages}}
    better: {files: pairs.jsonl, fields: {prompt: prompt, chosen: chosen, rejected: rejected}}
train:
  sft: {data: {sources: [stories, answers], sequence_length: 64, validation: 20}, max_steps: 1}
  dpo: {data: {sources: [better], sequence_length: 64}, preference: {}, max_steps: 1}
"""


def story(number: int) -> dict[str, Any]:
    words = np.random.default_rng(number).choice(["fox", "dog", "sun", "old", "red", "ran", "sat"], 3 + number % 9)
    return {"id": f"stories:{number}", "source": "stories", "text": f"{number}. " + " ".join(words)}


def answer(number: int) -> dict[str, Any]:
    turns = [{"role": "user", "content": f"{number}?"}, {"role": "assistant", "content": "ran " * (number % 5 + 1)}]
    return {"id": f"answers:{number}", "source": "answers", "messages": turns}


def pair(number: int) -> dict[str, Any]:
    texts = {"prompt": f"{number}?", "chosen": "sun " * (number % 4 + 1), "rejected": "red"}
    return {"id": f"better:{number}", "source": "better", **texts}


def write_documents(run_dir: Path, source: str, rows: list[dict[str, Any]], files: int = 3) -> None:
    directory = run_dir / "curate" / "documents" / source
    directory.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        pq.write_table(pa.Table.from_pylist(rows[number::files], DOCUMENTS), directory / f"{number:05d}.parquet")


def made_job(directory: Path, address: str | None = None) -> Job:
    """A job whose curation is done."""
    recipe = directory / "small.yaml"
    directory.mkdir(exist_ok=True)
    recipe.write_text(RECIPE)
    run_dir = directory / "run"
    write_documents(run_dir, "stories", [story(number) for number in range(400)])
    write_documents(run_dir, "answers", [answer(number) for number in range(200)])
    write_documents(run_dir, "better", [pair(number) for number in range(150)])
    stage = Stage.open(run_dir, "curate", recipe={}, seed=0, code="c")
    stage.finish({})
    session = RaySession(address) if address else None
    return Job(load_recipe(str(recipe), None, []), run_dir, session, Reporter())  # type: ignore[arg-type]


def shards(job: Job) -> dict[str, bytes]:
    directory = job.run_dir / "tokenize"
    return {str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.glob("*/*.arrow"))}


@pytest.fixture
def small_groups(monkeypatch) -> None:
    monkeypatch.setattr(ray_jobs.tokenize, "GROUP_TOKENS", 3000)


def test_a_phase_of_many_tokens_has_several_shards_with_every_document_once(tmp_path, small_groups):
    job = made_job(tmp_path)
    summary = tokenize(job)["phases"]["sft"]
    directory = job.run_dir / "tokenize" / "sft"
    rows = {split: TokenRows.open(directory, split) for split in ("train", "validation")}
    assert len(list(directory.glob("train-*.arrow"))) == -(-summary["train"]["tokens"] // 3000) > 2
    names = {split: [name for row in range(len(rows[split])) for name in rows[split].documents(row)] for split in rows}
    assert len(names["validation"]) == len(set(names["validation"])) == 20
    expected = {f"stories:{number}" for number in range(400)} | {f"answers:{number}" for number in range(200)}
    assert sorted([*names["train"], *names["validation"]]) == sorted(expected)
    assert summary["train"]["rows"] == len(rows["train"])
    assert summary["train"]["tokens"] == rows["train"].lengths.sum()
    assert summary["train"]["fill"] > 0.95
    for shard in directory.glob("train-*.arrow"):  # each a mixture of both sources
        one = TokenRows([shard])
        sources = {name.split(":")[0] for row in range(len(one)) for name in one.documents(row)}
        assert sources == {"stories", "answers"}


def test_little_data_is_one_shard(tmp_path):
    job = made_job(tmp_path)
    tokenize(job)
    assert [name for name in shards(job) if name.startswith("sft")] == [
        "sft/train-00000.arrow",
        "sft/validation-00000.arrow",
    ]


def test_chosen_and_rejected_of_a_pair_are_neighbours_in_rows_of_twice_the_length(tmp_path, small_groups):
    job = made_job(tmp_path)
    summary = tokenize(job)["phases"]["dpo"]["train"]
    rows = TokenRows.open(job.run_dir / "tokenize" / "dpo", "train")
    seen = []
    for row in range(len(rows)):
        names = rows.documents(row)
        assert names[::2] == names[1::2]
        assert len(rows[row].input_ids) <= 128
        seen += names[::2]
    assert sorted(seen) == sorted(f"better:{number}" for number in range(150))
    assert summary["samples"] == 300
    assert summary["fill"] == round(summary["tokens"] / (len(rows) * 128), 5)


def test_pairs_and_dialogues_in_one_phase_are_an_error(tmp_path):
    job = made_job(tmp_path)
    write_documents(job.run_dir, "answers", [answer(number) for number in range(20)] + [pair(1), pair(2)])
    message = r"train\.sft\.data\.sources: 2 preference pairs and 420 texts or dialogues, expected one kind"
    with pytest.raises(DataError, match=message):
        tokenize(job)


def test_tokenizing_that_is_killed_goes_on_from_the_parts_and_shards_that_are_finished(
    tmp_path, small_groups, monkeypatch
):
    calm = made_job(tmp_path / "calm")
    tokenize(calm)
    job = made_job(tmp_path / "killed")
    calls = {"tokenize_file": 0, "write_rows": 0}

    def dying(name, last):
        original = getattr(ray_jobs.tokenize, name)

        def once(*arguments):
            if calls[name] == last:
                raise KeyboardInterrupt
            calls[name] += 1
            return original(*arguments)

        return once

    for name, last in (("tokenize_file", 2), ("write_rows", 2)):
        with monkeypatch.context() as patch:
            calls[name] = 0
            patch.setattr(ray_jobs.tokenize, name, dying(name, last))
            with pytest.raises(KeyboardInterrupt):
                tokenize(job)
            assert calls[name] == 2
    directory = job.run_dir / "tokenize"
    finished = [*directory.glob(".work/sft/*"), *directory.glob("sft/*.arrow")]
    before = {path: path.stat().st_mtime_ns for path in finished}
    assert sum(path.parent.name == "sft" and path.suffix == ".arrow" for path in finished) >= 2
    with monkeypatch.context() as patch:  # so that what was there and what is made anew can be looked at
        patch.setattr("shutil.rmtree", lambda *_, **__: None)
        tokenize(job)
    assert {path: path.stat().st_mtime_ns for path in finished} == before
    assert shards(job) == shards(calm)


@pytest.mark.ray
def test_the_shards_are_the_same_bytes_from_one_process_and_from_two_workers(tmp_path, small_groups, ray_cluster):
    one, two = made_job(tmp_path / "one"), made_job(tmp_path / "two", ray_cluster)
    assert tokenize(one) == tokenize(two)
    assert shards(one) == shards(two)


def test_the_summary_is_that_of_the_accounts(tmp_path):
    job = made_job(tmp_path)
    tokenize(job)
    written = orjson.loads((job.run_dir / "tokenize" / "summary.json").read_bytes())["phases"]["sft"]["train"]
    assert written["documents"] == written["samples"] == 580
    assert written["refused"] == {}
