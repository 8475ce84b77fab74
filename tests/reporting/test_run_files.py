from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from core.errors import DataError
from core.reporting.run_files import read_run
from core.reporting.written_files import parse_json, read_lines


@pytest.mark.parametrize(
    "name",
    [
        "curate/ledger.json",
        "curate/manifest.json",
        "curate/statistics.json",
        "curate/duplicates/minhash_dedup.json",
        "curate/contamination/decontaminate.json",
        "tokenize/summary.json",
        "train/sft/summary.json",
        "evaluate/scores.json",
    ],
)
@pytest.mark.parametrize("content", [b"{", b"\xff{}", b"[]"])
def test_a_broken_file_is_named(run_copy: Path, name: str, content: bytes) -> None:
    (run_copy / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        read_run(run_copy)


def test_a_missing_field_is_named_with_its_key_path(run_copy: Path) -> None:
    path = run_copy / "curate" / "ledger.json"
    path.write_text(path.read_text().replace('"documents_kept"', '"documents_keep"', 1))
    with pytest.raises(DataError, match=r"ledger\.json: sources\.skills\.steps\.0\.documents_kept: Field required"):
        read_run(run_copy)


def test_a_wrong_value_is_named_with_what_was_found(run_copy: Path) -> None:
    path = run_copy / "evaluate" / "scores.json"
    path.write_text(path.read_text().replace("0.9325", '"high"', 1))
    with pytest.raises(DataError, match=r"scores\.json: scores\.1\.value: .*'high'"):
        read_run(run_copy)


def test_a_histogram_whose_bins_do_not_fit_its_edges_is_refused(run_copy: Path) -> None:
    path = run_copy / "curate" / "statistics.json"
    path.write_text(path.read_text().replace('"edges": [0, ', '"edges": [', 1))
    with pytest.raises(DataError, match=r"statistics\.json: lengths: .*skills has 32 bins, its edges make 31"):
        read_run(run_copy)


def test_a_matrix_that_does_not_fit_its_sources_is_refused(run_copy: Path) -> None:
    path = run_copy / "curate" / "duplicates" / "minhash_dedup.json"
    path.write_text(path.read_text().replace("[200, 41]", "[200]", 1))
    with pytest.raises(DataError, match=r"minhash_dedup\.json: .*rows of \[1, 2\] entries does not fit 2 sources"):
        read_run(run_copy)


def test_a_run_of_an_earlier_version_has_no_tokens_cuts_or_statistics(run_copy: Path) -> None:
    for name in ("statistics.json", "duplicates/minhash_dedup.json", "contamination/decontaminate.json"):
        (run_copy / "curate" / name).unlink()
    path = run_copy / "curate" / "ledger.json"
    ledger = json.loads(path.read_text())
    for source in ledger["sources"].values():
        for part in (source["read"], source["kept"], *source["steps"]):
            for name in ("tokens", "tokens_in", "tokens_kept", "cut"):
                part.pop(name, None)
    path.write_text(json.dumps(ledger))
    run = read_run(run_copy)
    assert (run.statistics, run.duplicates, run.contamination) == (None, {}, {})
    assert run.ledger and run.ledger.measures == ["documents", "bytes"]


def test_a_broken_log_line_is_named_by_file_and_line(run_copy: Path) -> None:
    path = run_copy / "train" / "sft" / "log.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], '{"step": 2, "loss"\n', *lines[2:]]))
    with pytest.raises(DataError, match=r"sft/log\.jsonl:2: not valid JSON"):
        read_run(run_copy)


def test_a_broken_recipe_is_named(run_copy: Path) -> None:
    (run_copy / "recipe.yaml").write_text("name: [quickstart")
    with pytest.raises(DataError, match=r"recipe\.yaml: not valid YAML"):
        read_run(run_copy)


def test_a_last_line_cut_off_by_a_crash_is_left_out(run_copy: Path) -> None:
    path = run_copy / "train" / "sft" / "log.jsonl"
    whole = len(read_lines(path))
    with path.open("a") as file:
        file.write('{"step": 241, "lo')
    assert len(read_lines(path)) == whole


def test_a_step_logged_again_after_a_restart_counts_once(run_copy: Path) -> None:
    path = run_copy / "train" / "sft" / "log.jsonl"
    before = read_run(run_copy).phases[1]
    path.write_text(path.read_text() + path.read_text())
    assert read_run(run_copy).phases[1] == before


def test_a_loss_that_is_not_a_number_is_read_as_such(run_copy: Path) -> None:
    path = run_copy / "train" / "sft" / "log.jsonl"
    first, rest = path.read_text().split("\n", 1)
    path.write_text(first.replace('"loss": ', '"loss": null, "was": ') + "\n" + rest)
    assert math.isnan(read_run(run_copy).phases[1].log[0].loss)


def test_phases_stand_in_the_recipes_order(finished_run: Path) -> None:
    assert [phase.name for phase in read_run(finished_run).phases] == ["pretrain", "sft", "dpop"]


def test_lone_surrogates_in_json_become_replacement_characters() -> None:
    assert parse_json(rb'{"a": "x\ud800y", "b": "\ud83d\ude00"}', "here") == {"a": "x\ufffdy", "b": "\U0001f600"}


def test_a_run_directory_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such run directory"):
        read_run(tmp_path / "nothing")
