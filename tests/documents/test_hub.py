from __future__ import annotations

from pathlib import Path

import datasets
import pytest

from core.documents import reading
from core.documents.reading import input_fingerprint, shards
from core.documents.source import Source
from core.errors import DataError, ResourceError
from tests.documents.conftest import Read

ROWS = {"question": [f"Question {number}? 🙂" for number in range(2500)], "label": list(range(2500))}


def test_dataset_saved_to_disk_is_read_in_parts_in_order(
    tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets.Dataset.from_dict(ROWS).save_to_disk(tmp_path / "saved")
    monkeypatch.setattr(reading, "SHARD_ROWS", 1200)
    documents, rejected = read(dataset="saved", fields={"text": "question", "meta": ["label"]})
    assert documents["text"].to_pylist() == ROWS["question"]
    assert documents["id"].to_pylist() == [f"s:0:{row}" for row in range(2500)]
    assert documents["meta"][2].as_py() == '{"label":2}'
    assert rejected.num_rows == 0
    found = shards("s", Source.model_validate({"dataset": "saved", "fields": {"text": "question"}}), tmp_path)
    assert [(shard.begin, shard.end) for shard in found] == [(0, 1200), (1200, 2400), (2400, 2500)]
    assert len({input_fingerprint(shard) for shard in found}) == 3


def test_split_of_a_saved_dataset(tmp_path: Path, read: Read) -> None:
    parts = {"train": datasets.Dataset.from_dict({"x": ["a"]}), "test": datasets.Dataset.from_dict({"x": ["b"]})}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    assert read(dataset="saved", split="test", fields={"text": "x"})[0]["text"].to_pylist() == ["b"]
    with pytest.raises(DataError, match="no split 'dev'; there are: train, test"):
        shards("s", Source.model_validate({"dataset": "saved", "split": "dev", "fields": {"text": "x"}}), tmp_path)


def test_directory_of_data_files_is_a_dataset(tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "train.jsonl").write_text('{"x": "a"}\n{"x": "b"}\n')
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    documents, _ = read(dataset="files", fields={"text": "x"})
    assert documents["text"].to_pylist() == ["a", "b"]


def test_row_that_does_not_fit_is_named(tmp_path: Path, read: Read) -> None:
    datasets.Dataset.from_dict({"x": ["a", None]}).save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match=r"dataset saved row 2: fields.text: column 'x' holds null"):
        read(dataset="saved", fields={"text": "x"})


def test_dataset_that_cannot_be_reached_says_so_in_two_lines(tmp_path: Path) -> None:
    source = Source.model_validate({"dataset": "nobody/has-this", "revision": "abc", "fields": {"text": "x"}})
    with pytest.raises(ResourceError) as error:
        shards("s", source, tmp_path)
    first, second = str(error.value).splitlines()
    assert first.startswith("dataset nobody/has-this at revision abc: cannot be loaded: ")
    assert "local directory" in second


def test_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    source = Source.model_validate({"dataset": "./gone", "fields": {"text": "x"}})
    with pytest.raises(DataError, match=r"dataset \./gone: no such directory"):
        shards("s", source, tmp_path)


def test_dataset_without_rows_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.csv").write_text("x\n")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    source = Source.model_validate({"dataset": str(tmp_path), "fields": {"text": "x"}})
    with pytest.raises(DataError, match='"train" corresponds to no data'):
        shards("s", source, tmp_path)


def test_local_dataset_that_cannot_be_read_is_the_fault_of_the_data(tmp_path: Path) -> None:
    datasets.Dataset.from_dict(ROWS).save_to_disk(tmp_path / "saved")
    [file] = (tmp_path / "saved").glob("*.arrow")
    file.write_bytes(file.read_bytes()[:1000])
    source = Source.model_validate({"dataset": "saved", "fields": {"text": "question"}})
    with pytest.raises(DataError, match=r"dataset .*saved: cannot be read: "):
        shards("s", source, tmp_path)
