"""Whatever is wrong with it, the user gets the right exit code, one or two plain lines, and no traceback."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.ray_jobs.conftest import raycipe

TEXT = """\
name: mine
model:
  config: {{hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 4}}
  tokenizer: {{train: {{vocabulary: 400}}}}
data:
  sources:
    mine: {{files: {files}, fields: {fields}}}
train:
  sft: {{data: {{sources: [mine], sequence_length: 64}}, max_steps: 2}}
"""
ROW = '{"q": "How warm is it?", "a": "Quite warm."}\n'
FIELDS = "{instruction: q, output: a}"


def plain(answer, code: int, *words: str) -> None:
    """The exit code, all words in the error, at most a few lines, no traceback."""
    assert answer.code == code, answer.err
    assert "Traceback" not in answer.err
    lines = answer.err.strip().splitlines()
    assert len(lines) <= 4, answer.err
    for word in words:
        assert word in answer.err, answer.err


@pytest.fixture
def curate(tmp_path: Path, ray_cluster: str):
    """Curates files with given contents."""

    def run(files: str, fields: str = FIELDS, *arguments: str):
        recipe = tmp_path / "mine.yaml"
        recipe.write_text(TEXT.format(files=files, fields=fields))
        return raycipe("curate", recipe, "--runs-dir", tmp_path / "runs", "--address", ray_cluster, *arguments)

    return run


@pytest.mark.ray
def test_a_missing_file_is_named(curate):
    plain(curate("nowhere.jsonl"), 2, "nowhere.jsonl")


@pytest.mark.ray
def test_an_empty_source_is_named(curate, tmp_path):
    (tmp_path / "rows.jsonl").write_text("")
    plain(curate("rows.jsonl"), 2, "rows.jsonl")


@pytest.mark.ray
def test_broken_utf8_is_named_with_its_line(curate, tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(ROW.encode() * 3 + b'{"q": "\xff\xfe", "a": "x"}\n')
    plain(curate("rows.jsonl"), 2, "rows.jsonl", "4", "UTF-8")


@pytest.mark.ray
def test_a_missing_field_is_named_with_the_row_and_what_is_there(curate, tmp_path):
    (tmp_path / "rows.jsonl").write_text(ROW * 2 + '{"q": "Why?"}\n' + ROW)
    plain(curate("rows.jsonl"), 2, "rows.jsonl", "3", "'a'")


@pytest.mark.ray
def test_a_truncated_gzip_is_named(curate, tmp_path):
    rows = "".join(json.dumps({"q": f"How warm is {n * n}?", "a": str(n)}) + "\n" for n in range(5000))
    whole = gzip.compress(rows.encode())
    (tmp_path / "rows.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    plain(curate("rows.jsonl.gz"), 2, "rows.jsonl.gz")


@pytest.mark.ray
def test_a_truncated_parquet_is_named(curate, tmp_path):
    pq.write_table(pa.table({"q": ["How warm?"] * 100, "a": ["Quite."] * 100}), tmp_path / "rows.parquet")
    whole = (tmp_path / "rows.parquet").read_bytes()
    (tmp_path / "rows.parquet").write_bytes(whole[:-100])
    plain(curate("rows.parquet"), 2, "rows.parquet")


@pytest.mark.ray
def test_a_field_of_another_type_is_named(curate, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"turns": "not a list"}\n')
    plain(curate("rows.jsonl", "{messages: turns}"), 2, "rows.jsonl", "turns")


@pytest.mark.ray
def test_what_was_made_before_an_error_is_not_lost(curate, tmp_path):
    (tmp_path / "rows.jsonl").write_text(ROW)
    assert curate("rows.jsonl").code == 0
    kept = list((tmp_path / "runs/mine/curate/documents").rglob("*.parquet"))
    assert kept
    plain(curate("nowhere.jsonl"), 2, "nowhere.jsonl")
    assert all(path.exists() for path in kept)
    assert "finished earlier" in curate("rows.jsonl").err


@pytest.mark.ray
def test_nothing_left_to_learn_is_said_with_the_reason(tmp_path, ray_cluster):
    (tmp_path / "rows.jsonl").write_text('{"q": "Why?", "a": ""}\n')
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(TEXT.format(files="rows.jsonl", fields="{text: a}"))
    answer = raycipe("tokenize", recipe, "--runs-dir", tmp_path / "runs", "--address", ray_cluster)
    assert answer.code == 2
    assert "Traceback" not in answer.err


@pytest.mark.ray
def test_fewer_rows_than_a_batch_are_told_before_training(tmp_path, ray_cluster):
    (tmp_path / "rows.jsonl").write_text(ROW)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(TEXT.format(files="rows.jsonl", fields=FIELDS))
    answer = raycipe("train", recipe, "--runs-dir", tmp_path / "runs", "--address", ray_cluster)
    plain(answer, 2, "train.sft: 1 rows of at most 64 tokens are fewer than global_batch_size 32; take a smaller one")


def test_an_unknown_key_is_found_before_anything_starts(tmp_path, small):
    small.write_text(small.read_text().replace("max_steps: 20", "max_stepz: 20"))
    plain(raycipe("run", small, "--runs-dir", tmp_path / "runs"), 2, "small.yaml:19", "did you mean 'max_steps'")
    assert not (tmp_path / "runs").exists()


def test_a_wrong_type_is_found_before_anything_starts(tmp_path, small):
    answer = raycipe("run", small, "seed=many", "--runs-dir", tmp_path / "runs", "--json")
    plain(answer, 2, "command line  seed: found 'many' (text); expected a valid integer")
    assert json.loads(answer.out)["problems"][0]["key"] == "seed"


def test_a_directory_that_cannot_be_written_is_named(tmp_path, small):
    (tmp_path / "file").write_text("")
    plain(raycipe("curate", small, "--runs-dir", tmp_path / "file"), 3, "file", "--runs-dir")


def test_a_cluster_that_is_not_there_is_named(tmp_path, small):
    answer = raycipe("curate", small, "--runs-dir", tmp_path / "runs", "--address", "127.0.0.1:1", timeout=120)
    plain(answer, 3, "127.0.0.1:1", "ray start --head")


@pytest.mark.ray
def test_more_workers_than_the_cluster_has_are_refused(tmp_path, small, ray_cluster):
    answer = raycipe(
        "train", small, "resources.workers=64",
        "train.pretrain.global_batch_size=256", "train.sft.global_batch_size=256",
        "--runs-dir", tmp_path / "runs", "--address", ray_cluster,
    )  # fmt: skip
    assert answer.code == 3
    assert "64 are asked for" in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("name", ["../elsewhere", "", "a b"])
def test_a_run_stays_below_its_directory(tmp_path, small, name):
    plain(raycipe("curate", small, "--runs-dir", tmp_path / "runs", "--run-name", name), 2, "--run-name")
    assert not (tmp_path / "runs").exists()


def test_reporting_a_run_that_is_not_there_is_an_error(tmp_path, small):
    plain(raycipe("report", small, "--runs-dir", tmp_path / "runs"), 2, "nothing to report yet")


MISUSED = [["chek", "x"], ["check"], ["run", "quickstart", "--nope"], ["curate", "quickstat"]]


@pytest.mark.parametrize("arguments", MISUSED)
def test_misused_commands_end_with_2(arguments):
    answer = raycipe(*arguments)
    assert answer.code == 2
    assert "Traceback" not in answer.err
