"""`curate` in this process, without a Ray: what steps leave, and that nothing depends on how sources are cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from core.documents import reading
from core.errors import DataError
from core.recipe.resolve import load_recipe
from ray_jobs.curate import curate
from ray_jobs.job import Job
from ray_jobs.progress import Reporter

WORDS = [f"word{number}" for number in range(4000)]


def sentence(start: int, length: int = 60) -> str:
    """Words that occur in no other sentence that begins far enough away."""
    return " ".join(WORDS[start : start + length])


class Curated:
    """What `curate` left."""

    def __init__(self, directory: Path, ledger: dict[str, Any], said: list[str]) -> None:
        self.directory, self.ledger, self.said = directory, ledger, said

    def documents(self, source: str = "a") -> dict[str, str]:
        table = pq.read_table(self.directory / "documents" / source)
        return dict(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))

    def dropped(self) -> dict[str, tuple[str, str]]:
        rows = [row for path in sorted(self.directory.glob("dropped/*")) for row in pq.read_table(path).to_pylist()]
        return {row["id"]: (row["reason"], row["evidence"]) for row in rows}

    def cut(self) -> list[tuple[str, str, str]]:
        rows = [row for path in sorted(self.directory.glob("cut/*")) for row in pq.read_table(path).to_pylist()]
        return [(row["id"], row["reason"], row["text"]) for row in rows]

    def json(self, name: str) -> Any:
        return orjson.loads((self.directory / name).read_bytes())


class Told(Reporter):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def run(tmp_path: Path):
    """Curates sources (name: texts, one JSON Lines file each) by steps, in this process."""

    def curated(
        sources: dict[str, list[str]], steps: list[dict], mixture: dict | None = None, name: str = "run", **more: Any
    ) -> Curated:
        declared = {}
        for source, texts in sources.items():
            rows = [{"id": f"{source}{number}", "text": text} for number, text in enumerate(texts)]
            (tmp_path / f"{source}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            declared[source] = {"files": f"{source}.jsonl", "fields": {"text": "text", "id": "id"}}
        recipe = {
            "name": "test",
            "model": {"config": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}},
            "data": {"sources": declared, "steps": steps, "mixture": mixture},
            "train": {"pretrain": {"data": {"sources": list(sources)[:1], "sequence_length": 64}, "max_steps": 1}},
        }
        recipe["model"]["config"]["num_attention_heads"] = 4
        recipe["model"]["tokenizer"] = {"train": {"vocabulary": 300}}
        with (tmp_path / "test.yaml").open("w") as file:
            YAML(typ="safe").dump(recipe, file)
        told = Told()
        job = Job(load_recipe(str(tmp_path / "test.yaml")), tmp_path / name, None, told)  # type: ignore[arg-type]
        return Curated(tmp_path / name / "curate", curate(job), told.lines)

    return curated


def test_repeated_paragraphs_and_lines_are_cut_and_the_first_stays(run):
    texts = [f"{sentence(0)}\n\n{sentence(100)}\n", f"{sentence(200)}\n\n{sentence(100)}\n\n{sentence(300)}"]
    done = run({"a": texts}, [{"exact_dedup": {"unit": "paragraph"}}])
    assert done.documents() == {"a0": texts[0], "a1": f"{sentence(200)}\n\n{sentence(300)}"}
    assert done.cut() == [("a1", "repeated_paragraph", f"{sentence(100)}\n\n")]
    step = done.ledger["sources"]["a"]["steps"][1]
    amounts = {"documents": 1, "spans": 1, "bytes": len(sentence(100)) + 2, "bytes_added": 0}
    assert step["cut"] == {"repeated_paragraph": amounts}
    assert step["bytes_in"] - step["bytes_kept"] == len(sentence(100)) + 2


def test_a_repeated_span_is_cut_across_sources(run):
    texts = {"a": [sentence(0, 100)], "b": [f"before {sentence(20, 60)} after"]}
    done = run(texts, [{"substring_dedup": {"min_tokens": 50}}])
    assert done.documents("a") == {"a0": sentence(0, 100)}
    assert done.documents("b") == {"b0": "before  after"}
    assert done.cut() == [("b0", "repeated_span", sentence(20, 60))]
    both = run(texts, [{"substring_dedup": {"min_tokens": 50, "keep": "none"}}], name="none")
    assert [span[0] for span in both.cut()] == ["a0", "b0"]


def test_the_bloom_filter_drops_what_it_has_seen_and_says_its_rate(run):
    done = run({"a": [sentence(0), sentence(100), sentence(0)]}, [{"bloom_dedup": {"false_positive_rate": 0.001}}])
    assert list(done.documents()) == ["a0", "a1"]
    assert done.dropped()["a2"] == ("seen_before", "48 of 48 13-grams")
    assert done.json("bloom/bloom_dedup.json")["false_positive_rate"] <= 0.001


def test_exact_and_near_duplicates_tell_which_document_stays(run):
    near = sentence(0).replace("word30 ", "other ")
    texts = {"a": [sentence(0), sentence(100), sentence(0)], "b": [near, sentence(100)]}
    done = run(texts, [{"exact_dedup": {}}, {"minhash_dedup": {"threshold": 0.7}}])
    dropped = done.dropped()
    assert {name: why[0] for name, why in dropped.items()} == {
        "a2": "exact_duplicate",
        "b0": "near_duplicate",
        "b1": "exact_duplicate",
    }
    assert dropped["a2"][1] == "a0" and dropped["b0"][1].startswith("a0 (Jaccard 0.")
    exact = done.json("duplicates/exact_dedup.json")
    assert exact["matrix"] == [[1, 0], [1, 0]] and exact["removed"] == 2
    [cluster] = done.json("duplicates/minhash_dedup.json")["clusters"]
    assert (cluster["kept"]["id"], cluster["removed"][0]["id"], cluster["documents"]) == ("a0", "b0", 2)
    assert 0.7 <= cluster["removed"][0]["jaccard"] < 1


def test_within_sources_only_where_a_step_says_so(run):
    texts = {"a": [sentence(0)], "b": [sentence(0), sentence(0)]}
    for step in ({"exact_dedup": {"across_sources": False}}, {"minhash_dedup": {"across_sources": False}}):
        assert list(run(texts, [step], name=next(iter(step))).dropped()) == ["b1"]


def test_contamination_is_told_item_by_item(run, tmp_path):
    (tmp_path / "test.jsonl").write_text(
        "".join(json.dumps({"q": text}) + "\n" for text in (sentence(10, 20), sentence(500, 20), "short one"))
    )
    against = {"held": {"files": "test.jsonl", "fields": {"text": "q"}}}
    texts = {"a": [sentence(0), sentence(5), sentence(1000)]}
    done = run(texts, [{"decontaminate": {"against": against}}])
    assert list(done.documents()) == ["a2"]
    found = done.json("contamination/decontaminate.json")
    assert (found["items"], found["too_short"], found["documents"]) == (3, 1, 2)
    assert found["matches"][0]["item"] == "held:0:0" and found["matches"][0]["documents"] == 2
    spans = run(texts, [{"decontaminate": {"against": against, "action": "span"}}], name="spans")
    assert spans.documents()["a0"] == f"{sentence(0, 10)}  {sentence(30, 30)}"


def test_personal_data_is_masked_and_kept_nowhere(run):
    done = run({"a": [f"{sentence(0)} mail jane.doe@example.org now"]}, [{"personal_data": {}}])
    assert "jane" not in done.documents()["a0"]
    assert [span[1:] for span in done.cut()] == [("email", None)]
    assert done.ledger["sources"]["a"]["steps"][1]["cut"]["email"]["spans"] == 1


def test_languages_are_counted(run):
    english = "The quick brown fox jumps over the lazy dog and runs into the forest where it lives with its family."
    german = "Der schnelle braune Fuchs springt über den faulen Hund und läuft in den Wald, in dem er mit anderen lebt."
    done = run({"a": [english, german]}, [{"language": {"languages": ["en"]}}])
    assert list(done.documents()) == ["a0"]
    assert done.json("statistics.json")["labels"] == {"language": {"a": {"de": 1, "en": 1}}}


def test_the_best_tenth_by_quality_is_kept_exactly(run, tmp_path):
    good = [f"A clear explanation of topic {number} with reasons and an example." for number in range(60)]
    bad = [f"buy now cheap {number} click here win prize casino" for number in range(60)]
    for name, texts in (("good", good), ("bad", bad)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    examples = {name: {"files": f"{name}.jsonl", "fields": {"text": "text"}} for name in ("good", "bad")}
    train = {"positive": {"good": examples["good"]}, "negative": {"bad": examples["bad"]}}
    texts = [f"buy {number} casino click" for number in range(18)] + ["A clear explanation with an example."] * 2
    done = run({"a": texts}, [{"quality": {"train": train, "top_fraction": 0.1}}])
    assert list(done.documents()) == ["a18", "a19"]
    assert {why[0] for why in done.dropped().values()} == {"low_quality"}


def test_mixture_by_count_tokens_share_and_with_replacement(run):
    texts = {name: [f"{sentence(number, 10)} {name}" for number in range(100)] for name in ("a", "b", "c")}
    done = run(texts, [], {"a": 10, "b": {"tokens": 110}, "c": {"documents": 250, "replacement": True}})
    kept = {name: source["kept"] for name, source in done.ledger["sources"].items()}
    assert kept["a"]["documents"] == 10
    assert 99 <= kept["b"]["tokens"] <= 110
    assert kept["c"]["documents"] == 250
    ids = pq.read_table(done.directory / "documents/c")["id"].to_pylist()
    assert len(set(ids)) == 250 and any("#2" in name for name in ids)


def test_the_result_is_the_same_bytes_however_sources_are_cut(run, monkeypatch):
    texts = {
        name: [sentence((number * 37) % 3000, 60) for number in range(start, start + 150)]
        for name, start in (("a", 0), ("b", 100))
    }
    steps = [
        {"exact_dedup": {}},
        {"exact_dedup": {"unit": "line"}},
        {"minhash_dedup": {"threshold": 0.6}},
        {"substring_dedup": {}},
        {"bloom_dedup": {}},
    ]
    whole = run(texts, steps, {"a": {"tokens": 3000}, "b": "all"}, name="whole")
    monkeypatch.setattr(reading, "SHARD_BYTES", 4000)
    monkeypatch.setattr(reading, "BATCH_BYTES", 1500)
    parts = run(texts, steps, {"a": {"tokens": 3000}, "b": "all"}, name="parts")
    assert len(list(parts.directory.glob("documents/a/*"))) > 5
    for name in texts:
        assert list(parts.documents(name).items()) == list(whole.documents(name).items())
    assert parts.dropped() == whole.dropped() and parts.cut() == whole.cut()
    assert parts.ledger == whole.ledger
    for report in ("duplicates/minhash_dedup.json", "duplicates/exact_dedup.json", "statistics.json"):
        assert parts.json(report) == whole.json(report)


def test_a_corrupt_file_among_many_is_an_error_or_in_the_ledger(run, tmp_path):
    for number in range(200):
        pq.write_table(pa.table({"text": [sentence(number)]}), tmp_path / f"part-{number:03d}.parquet")
    (tmp_path / "part-117.parquet").write_bytes((tmp_path / "part-117.parquet").read_bytes()[:-40])
    source = {"files": "part-*.parquet", "fields": {"text": "text"}}
    recipe = YAML(typ="safe")
    for on_error in ("stop", "skip"):
        path = tmp_path / "many.yaml"
        run({"a": ["one"]}, [], name=f"first-{on_error}")
        values = recipe.load((tmp_path / "test.yaml").read_text())
        values["data"]["sources"]["a"] = source | {"on_error": on_error}
        with path.open("w") as file:
            recipe.dump(values, file)
        job = Job(load_recipe(str(path)), tmp_path / on_error, None, Told())  # type: ignore[arg-type]
        if on_error == "stop":
            with pytest.raises(DataError, match=r"part-117\.parquet"):
                curate(job)
        else:
            account = curate(job)["sources"]["a"]
            assert account["kept"]["documents"] == 199
            assert sum(account["steps"][0]["dropped"].values()) == 1


def test_files_that_steps_name_lie_beside_the_recipe(run, tmp_path):
    (tmp_path / "bad.txt").write_text("casino\n")
    page = "This is the first sentence here. This is the second one, too. And this is a third one."
    done = run({"a": [page, f"{page} Visit the casino."]}, [{"c4": {"bad_words": "bad.txt"}}])
    assert list(done.documents()) == ["a0"]
    with pytest.raises(DataError, match=r"c4\.bad_words: none\.txt: no such file"):
        run({"a": [page]}, [{"c4": {"bad_words": "none.txt"}}], name="missing")


def test_a_fasttext_model_judges_quality(run):
    from core.filters.fasttext_model import carried_model

    english = "This is a sentence in plain English about nothing in particular."
    german = "Dies ist ein deutscher Satz, der von nichts Besonderem handelt."
    step = {"quality": {"model": carried_model(), "label": "__label__en", "min_score": 0.5}}
    assert list(run({"a": [english, german]}, [step]).documents()) == ["a0"]
    step["quality"]["label"] = "__label__hq"
    with pytest.raises(DataError, match="no label __label__hq"):
        run({"a": [english]}, [step], name="label")


def test_test_items_that_cannot_be_read_are_told_and_kept(run, tmp_path):
    (tmp_path / "test.jsonl").write_text(json.dumps({"q": sentence(0)}) + '\n{"q": null}\nbroken\n')
    against = {"held": {"files": "test.jsonl", "fields": {"text": "q"}, "on_error": "skip"}}
    done = run({"a": [sentence(0)]}, [{"decontaminate": {"against": against}}])
    assert any("2 rows cannot be read" in line for line in done.said)
    assert done.json("contamination/decontaminate.json")["unreadable"] == 2
    assert pq.read_table(done.directory / "unreadable/decontaminate.parquet").num_rows == 2


def test_a_language_that_the_model_does_not_know_is_refused(run):
    with pytest.raises(DataError, match="'en'"):
        run({"a": ["text"]}, [{"language": {"languages": ["english"]}}])
