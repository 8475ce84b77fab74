"""`raycipe dedup` on files of any columns: what is kept, what is removed, and what is refused."""

from __future__ import annotations

import datetime
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from core.dedup.minhash import MinhashDedup, find_near_duplicates
from core.errors import DataError, RecipeError, ResourceError
from ray_jobs.dedup import dedup, deduplicate
from ray_jobs.progress import Reporter
from tests.ray_jobs.conftest import raycipe

SEED = 42
OPTIONS = MinhashDedup(ngram=3)


def texts(count: int, seed: int = 0) -> list[str]:
    """Some of them copies with a word replaced."""
    rng = np.random.default_rng(seed)
    made: list[list[str]] = []
    for number in range(count):
        if made and rng.random() < 0.4:
            words = list(made[rng.integers(len(made))])
            words[rng.integers(len(words))] = f"n{number}"
        else:
            words = [f"w{value}" for value in rng.integers(0, 10_000, 60)]
        made.append(words)
    return [" ".join(words) for words in made]


def run(files: list[Path], out: Path, options: MinhashDedup = OPTIONS, **more: Any) -> dict[str, Any]:
    given = {"text_field": "text", "id_field": None, "seed": SEED, "skip": False, "session": None} | more
    return deduplicate([str(path) for path in files], out, options, reporter=Reporter(), **given)


def rows(out: Path, kind: str) -> list[dict[str, Any]]:
    return [row for path in sorted((out / kind).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.parquet")}


def test_every_column_and_type_of_parquet_is_kept_and_removed_rows_say_why(tmp_path: Path) -> None:
    made = texts(300)
    table = pa.table(
        {
            "text": pa.array(made, pa.large_string()),
            "when": pa.array([datetime.datetime(2020, 1, 1)] * 300, pa.timestamp("ms")),
            "kind": pa.array(["a", "b", None] * 100).dictionary_encode(),
            "nested": [[{"x": number, "y": None}] for number in range(300)],
            "small": pa.array(range(300), pa.int16()),
        }
    ).replace_schema_metadata({"mine": "kept"})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=70)
    result = run([tmp_path / "a.parquet"], tmp_path / "out")
    expected = find_near_duplicates(table["text"].combine_chunks(), OPTIONS, SEED)

    assert result["documents"] == 300
    assert result["removed"] == expected.num_rows > 50
    removed = pq.read_table(tmp_path / "out/removed/part-00000.parquet")
    kept = pq.read_table(tmp_path / "out/kept/part-00000.parquet")
    there = pq.read_schema(tmp_path / "a.parquet")
    assert kept.schema.equals(there, check_metadata=True)
    assert removed.select(table.column_names).schema.equals(there)
    going = expected["row"].to_pylist()
    assert kept.to_pylist() == table.take([row for row in range(300) if row not in set(going)]).to_pylist()
    assert removed.select(table.column_names).to_pylist() == table.take(going).to_pylist()
    assert removed["kept_id"].to_pylist() == [f"a.parquet:{row}" for row in expected["kept_row"].to_pylist()]
    assert removed["cluster_id"].to_pylist() == [f"a.parquet:{row}" for row in expected["cluster"].to_pylist()]
    assert removed["jaccard"].to_pylist() == expected["jaccard"].to_pylist()
    assert json.loads((tmp_path / "out/dedup.json").read_bytes()) == result
    assert not (tmp_path / "out/.work").exists()


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "jsonl.zst"])
def test_json_lines_become_columns_of_one_schema(suffix: str, tmp_path: Path) -> None:
    made = texts(60)
    first = [{"text": text, "n": 1, "tags": [], "any": 1, "o": {"a": 1}, "day": "2020-01-01"} for text in made[:30]]
    second = [{"text": text, "n": 1.5, "tags": ["x"], "any": "one", "o": {"b": "c"}, "new": True} for text in made[30:]]
    for name, lines in (("a", first), ("b", second)):
        data = "\n".join(map(json.dumps, lines)).encode()
        pack = {"jsonl": bytes, "jsonl.gz": gzip.compress, "jsonl.zst": zstandard.compress}[suffix]
        (tmp_path / f"{name}.{suffix}").write_bytes(pack(data))
    result = run([tmp_path / f"*.{suffix}"], tmp_path / "out")
    found = rows(tmp_path / "out", "kept") + rows(tmp_path / "out", "removed")
    assert len(found) == result["documents"] == 60
    by_text = {row["text"]: row for row in found}
    one, other = by_text[made[0]], by_text[made[40]]
    assert {name: one[name] for name in ("n", "tags", "any", "o", "day", "new")} == {
        "n": 1.0,
        "tags": [],
        "any": "1",
        "o": {"a": 1, "b": None},
        "day": "2020-01-01",
        "new": None,
    }
    assert (other["n"], other["tags"], other["any"], other["o"]) == (1.5, ["x"], '"one"', {"a": None, "b": "c"})
    schemas = [pq.read_schema(path) for path in sorted((tmp_path / "out/kept").glob("*"))]
    assert len(schemas) == 2
    assert schemas[0].equals(schemas[1], check_metadata=True)


def test_ids_come_from_the_id_field(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a b c d"] * 3, "key": [7, 5, 6]}), tmp_path / "a.parquet")
    (tmp_path / "b.jsonl").write_text('{"text": "a b c d", "key": "x"}\n')
    run([tmp_path / "a.parquet", tmp_path / "b.jsonl"], tmp_path / "out", id_field="key")
    assert [(row["key"], row["kept_id"]) for row in rows(tmp_path / "out", "removed")] == [
        (5, "7"),
        (6, "7"),
        ("x", "7"),
    ]


def test_whole_numbers_as_ids_stay_whole_numbers(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a b c d"] * 2, "key": pa.array([7, 5], pa.int32())}), tmp_path / "a.parquet")
    (tmp_path / "b.jsonl").write_text('{"text": "a b c d", "key": 6}\n')
    run([tmp_path / "a.parquet", tmp_path / "b.jsonl"], tmp_path / "out", id_field="key")
    found = [(row["key"], row["kept_id"], row["cluster_id"]) for row in rows(tmp_path / "out", "removed")]
    assert found == [(5, 7, 7), (6, 7, 7)]


def test_ids_of_several_types_are_those_of_the_id_column_as_written(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(f'{{"text": "a b c d", "key": {key}}}\n' for key in ('"x"', 7, 8)))
    (tmp_path / "b.jsonl").write_text("".join(f'{{"text": "e f g h", "key": {key}}}\n' for key in (1, '"y"')))
    run([tmp_path / "a.jsonl", tmp_path / "b.jsonl"], tmp_path / "out", id_field="key")
    assert [row["key"] for row in rows(tmp_path / "out", "kept")] == ["x", "1"]
    assert [(row["key"], row["kept_id"], row["cluster_id"]) for row in rows(tmp_path / "out", "removed")] == [
        ("7", "x", "x"),
        ("8", "x", "x"),
        ("y", "1", "1"),
    ]


def test_default_ids_of_files_of_one_name_have_the_path_below_their_common_parent(tmp_path: Path) -> None:
    for name, text in (("x1/a.jsonl", "a b c"), ("x2/a.jsonl", "d e f"), ("x2/b.jsonl", "g h i")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f'{{"text": "{text}"}}\n' * 2)
    run([tmp_path / "*/*.jsonl"], tmp_path / "out")
    found = [row["kept_id"] for row in rows(tmp_path / "out", "removed")]
    assert found == ["x1/a.jsonl:0", "x2/a.jsonl:0", "x2/b.jsonl:0"]


def test_columns_that_are_views_are_read_and_written(tmp_path: Path) -> None:
    made = {"text": ["a b c d", "a b c d", "e"], "key": ["x", "y", "z"], "more": ["1", None, "3"]}
    table = pa.table({name: pa.array(values, pa.string_view()) for name, values in made.items()})
    table = table.append_column("bytes", pa.array([b"1", b"2", b"3"], pa.binary_view()))
    table = table.append_column("list", pa.array([["1"], [], None], pa.list_(pa.string_view())))
    pq.write_table(table, tmp_path / "a.parquet")
    for number, id_field in enumerate((None, "key")):
        out = tmp_path / f"out{number}"
        run([tmp_path / "a.parquet"], out, id_field=id_field, skip=bool(number))
        assert rows(out, "kept") == [table.to_pylist()[0], table.to_pylist()[2]]
        removed = rows(out, "removed")[0]
        assert removed["kept_id"] == ("x" if number else "a.parquet:0")
        assert {name: removed[name] for name in table.column_names} == table.to_pylist()[1]


def test_null_and_empty_texts_are_kept(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [None, "", None, "", "...", "a b", "a b"]}), tmp_path / "a.parquet")
    (tmp_path / "b.jsonl").write_text('{"text": null}\n{"text": ""}\n\n{"text": "a b"}\n')
    result = run([tmp_path / "a.parquet", tmp_path / "b.jsonl"], tmp_path / "out")
    assert (result["documents"], result["kept"]) == (10, 8)
    assert [row["kept_id"] for row in rows(tmp_path / "out", "removed")] == ["a.parquet:5"] * 2


def test_files_in_any_parts_give_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = texts(400)
    pq.write_table(pa.table({"text": made[:200]}), tmp_path / "a.parquet", row_group_size=20)
    lines = "".join(json.dumps({"text": text}) + "\n" for text in made[200:])
    (tmp_path / "b.jsonl").write_text(lines)
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    files = [tmp_path / "a.parquet", tmp_path / "b.jsonl", tmp_path / "c.jsonl.gz"]
    whole = run(files, tmp_path / "whole")
    for name in ("core.documents.reading.SHARD_BYTES", "ray_jobs.dedup_files.reading.SHARD_BYTES"):
        monkeypatch.setattr(name, 9_000)
    monkeypatch.setattr("ray_jobs.dedup_files.reading.BATCH_BYTES", 4_000)
    monkeypatch.setattr("ray_jobs.dedup_files.parquet_rows.BATCH_BYTES", 3_000)
    monkeypatch.setattr("ray_jobs.deduplication.band_shares.SHARE", 1_000)
    monkeypatch.setattr("ray_jobs.deduplication.first_occurrences.PARTITION", 1_000)
    parts = run(files, tmp_path / "parts")
    assert whole["parts"] == 3
    assert parts["parts"] > 12
    for kind in ("kept", "removed"):
        assert rows(tmp_path / "parts", kind) == rows(tmp_path / "whole", kind)


def test_small_files_are_read_together_and_written_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = texts(120)
    for number in range(12):
        here = made[number * 10 : number * 10 + 10]
        if number % 3:
            pq.write_table(pa.table({"text": here, f"n{number}": range(10)}), tmp_path / f"{number:02d}.parquet")
        else:
            lines = "".join(json.dumps({"text": text}) + "\n" for text in here)
            (tmp_path / f"{number:02d}.jsonl").write_text(lines)
    files = sorted(tmp_path.glob("*.*"))
    together = run(files, tmp_path / "together")
    monkeypatch.setattr("core.documents.reading.BUNDLE_BYTES", 0)
    apart = run(files, tmp_path / "apart")
    assert together["parts"] == apart["parts"] == together["files"] == 12
    assert contents(tmp_path / "together") == contents(tmp_path / "apart")


class TestOptions:
    """Each option of the command has its effect."""

    FAR, NEAR = "a b c d e f g h i j", "a b c d e f g h i z"  # 3-grams: 7 of 9 in common

    @pytest.fixture
    def kept(self, tmp_path: Path):
        pq.write_table(pa.table({"text": [self.FAR, self.NEAR + "!"], "other": ["x y", "z"]}), tmp_path / "a.parquet")

        def run_command(text_field: str = "text", **minhash: Any) -> list[str]:
            out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
            options = MinhashDedup(**{"ngram": 3, **minhash})
            run([tmp_path / "a.parquet"], out, options, text_field=text_field)
            return [row["text"] for row in rows(out, "kept")]

        return run_command

    def test_threshold(self, kept) -> None:
        assert len(kept(threshold=0.7)) == 1
        assert len(kept(threshold=0.85)) == 2

    def test_ngram_and_unit(self, kept) -> None:
        assert len(kept(threshold=0.8, ngram=1)) == 1
        assert len(kept(threshold=0.825, ngram=1, unit="word")) == 2
        assert len(kept(threshold=0.825, ngram=1, unit="character")) == 1

    def test_keep(self, kept) -> None:
        assert kept(threshold=0.7) == [self.FAR]
        assert kept(threshold=0.7, keep="longest") == [self.NEAR + "!"]

    def test_text_field(self, kept) -> None:
        assert len(kept(text_field="other", threshold=0.1)) == 2

    def test_bands_and_verify(self, kept) -> None:
        assert len(kept(threshold=0.9, verify=False, bands=64, rows_per_band=1)) == 1
        assert len(kept(threshold=0.9, bands=64, rows_per_band=1)) == 2


class TestState:
    """The directory that is written."""

    @pytest.fixture
    def files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        """Each is read by a task of its own."""
        monkeypatch.setattr("core.documents.reading.BUNDLE_BYTES", 0)
        made = texts(200)
        for part in range(4):
            pq.write_table(pa.table({"text": made[part * 50 : part * 50 + 50]}), tmp_path / f"{part}.parquet")
        return sorted(tmp_path.glob("*.parquet"))

    def test_a_finished_job_is_not_done_again(self, files, tmp_path, capsys) -> None:
        first = run(files, tmp_path / "out")
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
        assert run(files, tmp_path / "out") == first
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before
        assert "finished earlier" in capsys.readouterr().err

    @pytest.mark.parametrize("place", ["read", "_sort_bands", "_compare_part", "_write_part", "write_bundle"])
    def test_a_killed_job_goes_on_where_it_was(self, files, tmp_path, monkeypatch, place) -> None:
        run(files, tmp_path / "whole")
        module = {
            "read": "dedup",
            "write_bundle": "dedup",
            "_sort_bands": "deduplication.band_shares",
            "_compare_part": "deduplication.candidate_comparison",
            "_write_part": "deduplication.duplicate_files",
        }[place]
        import importlib

        room = importlib.import_module(f"ray_jobs.{module}")
        real, calls = getattr(room, place), []

        def killed(*arguments: Any) -> None:
            calls.append(arguments)
            if len(calls) == 3:
                raise KeyboardInterrupt
            real(*arguments)

        monkeypatch.setattr(room, place, killed)
        with pytest.raises(KeyboardInterrupt):
            run(files, tmp_path / "out")
        read = sorted((tmp_path / "out/.work").glob("keys-*"))
        times = [path.stat().st_mtime_ns for path in read]
        monkeypatch.setattr(room, place, real)
        seen = []
        write = importlib.import_module("ray_jobs.dedup").find_near_duplicates

        def looked(*arguments: Any) -> Any:
            seen.extend(path.stat().st_mtime_ns for path in read)
            return write(*arguments)

        monkeypatch.setattr("ray_jobs.dedup.find_near_duplicates", looked)
        run(files, tmp_path / "out")
        assert seen == times
        assert len(times) == (2 if place == "read" else 4)
        assert contents(tmp_path / "out") == contents(tmp_path / "whole")

    def test_a_directory_of_another_job_or_with_other_files_is_left_alone(self, files, tmp_path) -> None:
        run(files, tmp_path / "out")
        before = contents(tmp_path / "out")
        with pytest.raises(DataError, match="another dedup"):
            run(files[:2], tmp_path / "out")
        with pytest.raises(DataError, match="another dedup"):
            run(files, tmp_path / "out", MinhashDedup(threshold=0.5))
        assert contents(tmp_path / "out") == before
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine/thesis.txt").write_text("years of work")
        with pytest.raises(DataError, match="thesis"):
            run(files, tmp_path / "mine")
        assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]

    def stopped(self, files, out, monkeypatch) -> None:
        """A run that ends as it writes, with a part written already."""
        with monkeypatch.context() as patched:
            patched.setattr("ray_jobs.dedup._result", lambda *arguments: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                run(files, out)
        assert (out / "kept").exists()
        assert (out / ".work/job.json").exists()

    def test_another_command_after_a_stopped_one_starts_anew(self, files, tmp_path, monkeypatch, capsys) -> None:
        self.stopped(files, tmp_path / "out", monkeypatch)
        run(files[:2], tmp_path / "out", skip=True)
        assert "starts anew" in capsys.readouterr().err
        run(files[:2], tmp_path / "other", skip=True)
        assert contents(tmp_path / "out") == contents(tmp_path / "other")

    def test_a_stopped_run_whose_file_was_mended_starts_anew(self, files, tmp_path) -> None:
        good = files[3].read_bytes()
        files[3].write_bytes(good[: len(good) // 2])
        with pytest.raises(DataError, match="not a whole Parquet file"):
            run(files, tmp_path / "out")
        files[3].write_bytes(good)
        assert run(files, tmp_path / "out")["documents"] == 200

    def test_a_kill_while_the_work_is_deleted_loses_no_result(self, files, tmp_path, monkeypatch) -> None:
        with monkeypatch.context() as patched:
            patched.setattr("ray_jobs.dedup.remove_work", lambda out: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                run(files, tmp_path / "out")
        assert (tmp_path / "out/.work").exists()
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
        (tmp_path / "out/.work/job.json").unlink()
        assert run(files, tmp_path / "out") == json.loads((tmp_path / "out/dedup.json").read_bytes())
        assert not (tmp_path / "out/.work").exists()
        after = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
        assert after == {path: time for path, time in before.items() if ".work" not in path.parts}

    @pytest.mark.parametrize("damage", [b"", b"[1]", b"{"])
    def test_damaged_state_counts_as_unfinished(self, files, tmp_path, monkeypatch, damage) -> None:
        run(files, tmp_path / "out")
        before = contents(tmp_path / "out")
        (tmp_path / "out/dedup.json").write_bytes(damage)
        run(files, tmp_path / "out")
        assert contents(tmp_path / "out") == before
        self.stopped(files, tmp_path / "stopped", monkeypatch)
        (tmp_path / "stopped/.work/job.json").write_bytes(damage)
        run(files, tmp_path / "stopped")
        assert contents(tmp_path / "stopped") == before

    def test_a_lock_and_an_empty_work_count_as_new(self, files, tmp_path) -> None:
        (tmp_path / "out/.work").mkdir(parents=True)
        (tmp_path / "out/.lock").write_text("1")
        assert run(files, tmp_path / "out")["documents"] == 200

    def test_kept_files_that_no_run_of_ours_tells_of_are_left_alone(self, files, tmp_path) -> None:
        (tmp_path / "out/kept").mkdir(parents=True)
        (tmp_path / "out/kept/thesis.txt").write_text("years of work")
        with pytest.raises(DataError, match="kept"):
            run(files, tmp_path / "out")
        assert (tmp_path / "out/kept/thesis.txt").exists()

    def test_what_can_be_seen_to_be_wrong_is_told_before_ray_starts(self, files, tmp_path, monkeypatch) -> None:
        class NoRay:
            def require(self) -> None:
                raise AssertionError("Ray was started")

        with pytest.raises(DataError, match="no column 'txt'"):
            run(files, tmp_path / "out", text_field="txt", session=NoRay())
        (tmp_path / "a.jsonl").write_text('{"txt": "a"}\n')
        with pytest.raises(DataError, match=r"a\.jsonl:1: has no key 'text'"):
            run([tmp_path / "a.jsonl"], tmp_path / "out", session=NoRay())
        assert not (tmp_path / "out").exists()
        (tmp_path / "file").write_text("")
        with pytest.raises(ResourceError, match="cannot be written"):
            run(files, tmp_path / "file/out", session=NoRay())
        with pytest.raises(AssertionError, match="Ray was started"):
            run(files, tmp_path / "out", session=NoRay())

    def test_a_result_with_a_file_cut_short_is_not_taken_for_finished(self, files, tmp_path) -> None:
        run(files, tmp_path / "out")
        before = contents(tmp_path / "out")
        cut = tmp_path / "out/removed/part-00001.parquet"
        cut.write_bytes(cut.read_bytes()[:-10])
        run(files, tmp_path / "out")
        assert contents(tmp_path / "out") == before

    def test_a_result_with_a_file_missing_is_not_taken_for_finished(self, files, tmp_path) -> None:
        run(files, tmp_path / "out")
        before = contents(tmp_path / "out")
        (tmp_path / "out/kept/part-00001.parquet").unlink()
        run(files, tmp_path / "out")
        assert contents(tmp_path / "out") == before


class TestBadInput:
    """Named with file, row and reason; nothing is written over it, or it is skipped and listed."""

    GOOD = "".join(json.dumps({"text": text}) + "\n" for text in texts(20))

    @pytest.fixture
    def good(self, tmp_path: Path) -> Path:
        (tmp_path / "good.jsonl").write_text(self.GOOD)
        return tmp_path / "good.jsonl"

    def both(self, good: Path, bad: Path, *words: str, skipped: int = 1, documents: int = 20) -> None:
        """Stops with these words, and skips so many."""
        with pytest.raises(DataError) as error:
            run([good, bad], good.parent / "stopped")
        for word in (bad.name, *words):
            assert word in str(error.value)
        assert not (good.parent / "stopped/dedup.json").exists()
        result = run([good, bad], good.parent / "skipped", skip=True)
        assert (result["documents"], result["skipped"]["count"]) == (documents, skipped)
        problems = [json.loads(line) for line in (good.parent / "skipped/skipped.jsonl").read_text().splitlines()]
        assert problems == result["skipped"]["first"]
        assert all(problem["file"] == str(bad) for problem in problems)
        assert any(all(word in problem["message"] for word in words) for problem in problems)
        assert len(rows(good.parent / "skipped", "kept")) + len(rows(good.parent / "skipped", "removed")) == documents

    def test_a_line_that_is_no_json(self, good, tmp_path) -> None:
        (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"text": \n{"text": "b"}\n')
        self.both(good, tmp_path / "bad.jsonl", "bad.jsonl:2", "not valid JSON", documents=22)

    def test_a_line_that_is_no_utf8(self, good, tmp_path) -> None:
        (tmp_path / "bad.jsonl").write_bytes(b'{"text": "a"}\n{"text": "\xff"}\n')
        self.both(good, tmp_path / "bad.jsonl", "bad.jsonl:2", "0xff", documents=21)

    @pytest.mark.parametrize(("line", "words"), [
        ('{"txt": "a"}', ("no key 'text'", "did you mean 'txt'")),
        ('{"text": 5}', ("the number 5", "expected a string")),
        ('{"text": "a", "jaccard": 1}', ("'jaccard'", "rename it")),
        ("[1]", ("expected an object",)),
    ])  # fmt: skip
    def test_a_row_of_another_form(self, good, tmp_path, line, words) -> None:
        (tmp_path / "bad.jsonl").write_text(f'{{"text": "a"}}\n{line}\n')
        self.both(good, tmp_path / "bad.jsonl", "bad.jsonl:2", *words, documents=21)

    def test_files_of_no_bytes_and_of_no_rows(self, good, tmp_path) -> None:
        (tmp_path / "bad.jsonl").write_bytes(b"")
        self.both(good, tmp_path / "bad.jsonl", "holds no rows")

    def test_a_parquet_file_of_no_bytes(self, good, tmp_path) -> None:
        (tmp_path / "bad.parquet").write_bytes(b"")
        self.both(good, tmp_path / "bad.parquet", "not a whole Parquet file")

    def test_a_parquet_file_without_rows(self, good, tmp_path) -> None:
        pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "bad.parquet")
        self.both(good, tmp_path / "bad.parquet", "holds no rows")

    def test_a_truncated_parquet_file(self, good, tmp_path) -> None:
        pq.write_table(pa.table({"text": texts(100)}), tmp_path / "bad.parquet")
        data = (tmp_path / "bad.parquet").read_bytes()
        (tmp_path / "bad.parquet").write_bytes(data[: len(data) // 2])
        self.both(good, tmp_path / "bad.parquet", "not a whole Parquet file")

    def test_a_damaged_row_group_of_another_column(self, good, tmp_path) -> None:
        table = pa.table({"text": texts(90), "more": [f"more {number}" for number in range(90)]})
        options = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
        pq.write_table(table, tmp_path / "bad.parquet", row_group_size=30, **options)
        data = bytearray((tmp_path / "bad.parquet").read_bytes())
        data[data.index(b"more 45")] ^= 1
        (tmp_path / "bad.parquet").write_bytes(bytes(data))
        self.both(good, tmp_path / "bad.parquet", "rows 31 to 60", documents=80)
        assert "are left out" in (tmp_path / "skipped/skipped.jsonl").read_text()
        with pytest.raises(DataError) as error:
            run([tmp_path / "bad.parquet"], tmp_path / "stopped again")
        assert "left out" not in str(error.value)

    def test_a_parquet_string_that_is_no_utf8(self, good, tmp_path) -> None:
        column = pa.array([b"a", b"b\xffc", None, b"d"], pa.binary()).view(pa.string())
        pq.write_table(pa.table({"text": column, "n": range(4)}), tmp_path / "bad.parquet")
        self.both(good, tmp_path / "bad.parquet", "row 2", "'text'", "0xff", documents=23)
        found = pq.read_table(tmp_path / "skipped/kept/part-00001.parquet")
        assert found["n"].to_pylist() == [0, 2, 3]

    @pytest.mark.parametrize(("table", "words"), [
        ({"txt": ["a"]}, ("no column 'text'", "did you mean 'txt'")),
        ({"text": [1, 2]}, ("column 'text' is of type int64",)),
        (pa.table([["a"], ["b"]], names=["text", "text"]), ("2 columns of the name 'text'",)),
        ({"text": ["a"], "kept_id": ["b"]}, ("'kept_id'", "rename it")),
    ])  # fmt: skip
    def test_a_parquet_file_of_other_columns(self, good, tmp_path, table, words) -> None:
        table = table if isinstance(table, pa.Table) else pa.table(table)
        pq.write_table(table, tmp_path / "bad.parquet")
        self.both(good, tmp_path / "bad.parquet", *words)

    def test_a_truncated_gzip_keeps_the_lines_before(self, good, tmp_path) -> None:
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts(3000, 5))
        data = gzip.compress(lines.encode())
        (tmp_path / "bad.jsonl.gz").write_bytes(data[: len(data) // 2])
        with pytest.raises(DataError, match="truncated"):
            run([good, tmp_path / "bad.jsonl.gz"], tmp_path / "stopped")
        result = run([good, tmp_path / "bad.jsonl.gz"], tmp_path / "skipped", skip=True)
        assert 1000 < result["documents"] < 3020

    def test_rows_without_an_id(self, good, tmp_path) -> None:
        pq.write_table(pa.table({"text": ["a", "b"], "id": ["x", None]}), tmp_path / "bad.parquet")
        with pytest.raises(DataError, match=r"row 2: column 'id' is null"):
            run([tmp_path / "bad.parquet"], tmp_path / "stopped", id_field="id")
        (tmp_path / "bad.jsonl").write_text('{"text": "a", "id": 1}\n{"text": "b"}\n')
        with pytest.raises(DataError, match=r"bad.jsonl:2: 'id' is null"):
            run([tmp_path / "bad.jsonl"], tmp_path / "stopped too", id_field="id")

    def test_no_documents_other_formats_and_missing_files(self, tmp_path) -> None:
        (tmp_path / "a.jsonl").write_text('{"text": 1}\n')
        with pytest.raises(
            DataError, match=r"hold no documents.*\n1 skipped, .* the first: .*a.jsonl:1: 'text' is the"
        ):
            run([tmp_path / "a.jsonl"], tmp_path / "out", skip=True)
        assert json.loads((tmp_path / "out/skipped.jsonl").read_bytes())["reason"] == "wrong_type"
        (tmp_path / "a").write_text("a")
        for name in ("a", "?"):
            with pytest.raises(DataError, match=r"/a: the name tells no format, expected .*\.parquet, \.jsonl"):
                run([tmp_path / name], tmp_path / "out")
        (tmp_path / "a.csv").write_text("text\na\n")
        with pytest.raises(DataError, match="found csv, expected Parquet or JSON Lines"):
            run([tmp_path / "a.csv"], tmp_path / "out")
        with pytest.raises(DataError, match="no such file"):
            run([tmp_path / "b.jsonl"], tmp_path / "out")


def test_a_wrong_option_is_named(tmp_path: Path) -> None:
    for minhash, word in (
        ({"threshold": 2.0}, "--threshold"),
        ({"bands": 3}, "^--bands is given without --rows-per-band: "),
        ({"unit": "x"}, "--unit"),
        ({"keep": "priority"}, "--keep: found 'priority', expected first or longest"),
        ({"linkage": "representative", "verify": False}, "^--linkage representative .* needs --verify$"),
        ({"ngram": 2**70}, "--ngram"),
        ({"bands": 2**70, "rows_per_band": 1}, "--bands"),
    ):
        with pytest.raises(RecipeError, match=word):
            dedup(["a.jsonl"], tmp_path, minhash, "text", None, SEED, "stop", None, False)
    with pytest.raises(RecipeError, match="--seed"):
        dedup(["a.jsonl"], tmp_path, {}, "text", None, 2**70, "stop", None, False)
    with pytest.raises(RecipeError, match="one of the names is empty"):
        dedup([""], tmp_path, {}, "text", None, SEED, "stop", None, False)
    with pytest.raises(RecipeError, match="an address with a password"):
        dedup(["https://me:secret@host/a.jsonl"], tmp_path, {}, "text", None, SEED, "stop", None, False)
    with pytest.raises(RecipeError, match="--id-field: is empty"):
        dedup(["a.jsonl"], tmp_path, {}, "text", "", SEED, "stop", None, False)
    with pytest.raises(RecipeError, match="--on-error"):
        dedup(["a.jsonl"], tmp_path, {}, "text", None, SEED, "ignore", None, False)


def test_a_document_of_fifty_megabytes_is_deduplicated(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    words = np.char.add("w", rng.integers(0, 10**9, 4_600_000).astype(str)).tolist()
    one = " ".join(words)
    words[1000] = "changed"
    assert len(one) > 49_000_000
    pq.write_table(pa.table({"text": ["short", one, "", " ".join(words)]}), tmp_path / "a.parquet")
    result = run([tmp_path / "a.parquet"], tmp_path / "out")
    assert result["removed"] == 1
    assert rows(tmp_path / "out", "removed")[0]["jaccard"] > 0.999


@pytest.mark.ray
def test_the_command_on_ray_writes_the_same_bytes_as_one_process(ray_cluster: str, tmp_path: Path) -> None:
    made = texts(300)
    for part in range(3):
        pq.write_table(pa.table({"text": made[part * 100 : part * 100 + 100]}), tmp_path / f"{part}.parquet")
    expected = run(sorted(tmp_path.glob("*.parquet")), tmp_path / "alone")
    more = ["--ngram", 3, "--json", "--address", ray_cluster]
    answer = raycipe("dedup", tmp_path / "*.parquet", "--out", tmp_path / "out", *more)
    assert answer.code == 0, answer.err
    printed = json.loads(answer.out)
    assert {**printed, "seconds": 0} == {**expected, "seconds": 0}
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


@pytest.mark.ray
def test_errors_of_the_command_are_plain(ray_cluster: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"txt": "b"}\n')
    answer = raycipe("dedup", tmp_path / "a.jsonl", "--out", tmp_path / "out", "--address", ray_cluster)
    assert answer.code == 2
    assert "a.jsonl:2" in answer.err
    assert "Traceback" not in answer.err
    answer = raycipe("dedup", tmp_path / "a.jsonl", "--out", tmp_path / "x", "--threshold", 7)
    assert (answer.code, "--threshold" in answer.err) == (2, True)
