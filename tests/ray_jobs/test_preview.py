"""What a recipe would train on, shown before anything is run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from core.documents.table import DOCUMENTS
from core.tokens.tokenizer import load_tokenizer, train_tokenizer
from tests.ray_jobs.conftest import environment, raycipe

ESCAPE = "\x1b[31mred\x1b]0;title\x07"


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of dialogues, one of which tries to command the terminal, and of pairs."""
    rows = [
        [("user", "Say it: :smile: [bold]"), ("assistant", f"Here {ESCAPE} 漢字 🙂\nit is.")],
        [("user", "Well?")],
        [("user", "long words " * 90), ("assistant", "Too late.")],
        [("user", "Count to twenty."), ("assistant", "one two three four five " * 60)],
    ]
    messages = [{"messages": [{"role": role, "content": content} for role, content in turns]} for turns in rows]
    tmp_path = tmp_path_factory.mktemp("chat")
    (tmp_path / "chat.jsonl").write_text("\n".join(map(json.dumps, messages)))
    pairs = [{"p": f"{n} + 1?", "c": f"It is {n + 1}.", "r": f"It is {n + 2}."} for n in range(30)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    (tmp_path / "chat.yaml").write_text("""\
name: chat
model:
  config: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 4}
  tokenizer: {train: {vocabulary: 400}}
data:
  sources:
    chat: {files: chat.jsonl, fields: {messages: messages}}
    pairs: {files: pairs.jsonl, fields: {prompt: p, chosen: c, rejected: r}}
  steps:
    - length: {min_words: 2}
train:
  sft: {data: {sources: [chat], sequence_length: 128}, max_steps: 2}
  dpo: {data: {sources: [pairs], sequence_length: 128}, preference: {}, max_steps: 2}
""")
    return tmp_path / "chat.yaml"


@pytest.fixture(scope="module")
def told(chat: Path) -> dict[str, Any]:
    """The preview of that recipe as JSON."""
    return shown(chat)


@pytest.fixture(scope="module")
def printed(chat: Path) -> str:
    """The preview of that recipe as it is printed to a file."""
    return raycipe("preview", chat).out


@pytest.fixture(scope="module")
def coloured(chat: Path) -> str:
    """The preview of that recipe as it is printed on a terminal."""
    return raycipe("preview", chat, FORCE_COLOR="1", TERM="xterm-256color").out


def shown(*arguments: object) -> dict[str, Any]:
    """A preview as JSON."""
    answer = raycipe("preview", *arguments, "--json")
    assert answer.code == 0, answer.err
    preview: dict[str, Any] = json.loads(answer.out)
    return preview


def test_each_phase_tells_its_samples_and_counts(small):
    preview = shown(small, "train.sft.data.sequence_length=512", "--documents", 4, "--sample", 100)
    assert set(preview["phases"]) == {"pretrain", "sft"}
    sft = preview["phases"]["sft"]
    assert sft["template"] == "chatml"
    assert len(sft["samples"]) == 4
    for sample in sft["samples"]:
        assert sample["length"] == sample["trained_tokens"] + sample["masked_tokens"]
        trained = "".join(piece["text"] for piece in sample["pieces"] if piece["trained"])
        assert trained.endswith("<|im_end|><|endoftext|>")
        assert "<|im_start|>" in [piece["text"] for piece in sample["pieces"] if piece["special"]]
    counts = sft["counts"]
    assert counts["tokens"] == counts["trained_tokens"] + counts["masked_tokens"]
    assert counts["fill"] == pytest.approx(counts["tokens"] / (counts["rows"] * 512))
    assert preview["not_asked"] == ["exact_dedup", "minhash_dedup", "decontaminate"]


def test_no_more_is_tokenized_than_the_sample(small):
    preview = shown(small, "--documents", 1, "--sample", 20)
    for name, source in preview["sampled"].items():
        assert source["read"] == 20, name
        assert source["kept"] == 20 - sum(source["dropped"].values())
    assert preview["phases"]["sft"]["counts"]["documents"] == preview["sampled"]["skills"]["kept"] <= 20
    assert "trained on the" in preview["phases"]["sft"]["tokenizer"]


def test_what_is_truncated_and_refused_is_told(told, printed):
    sft = told["phases"]["sft"]
    truncated = {sample["document"]: sample["truncated_tokens"] for sample in sft["samples"]}
    assert truncated["chat:0:0"] == 0
    assert truncated["chat:0:3"] > 0
    assert {each["document"]: each["reason"] for each in sft["refused"]}["chat:0:2"] == "nothing_to_learn"
    assert f"truncated {truncated['chat:0:3']} tokens" in printed
    assert "refused chat:0:2: nothing_to_learn" in printed


def test_without_colours_what_is_trained_stands_between_marks(printed):
    assert "⟦Here [U+001B][31mred[U+001B]]0;title[U+0007] 漢字 🙂⏎\nit is.<|im_end|>⟧" in printed
    assert "user⏎\nSay it: :smile: [bold]<|im_end|>⏎" in printed


def test_what_data_say_does_not_command_the_terminal(printed, coloured):
    assert "\x1b" not in printed
    assert "\x1b[31mred" not in coloured
    for text in (printed, coloured):
        assert "\x1b]" not in text
        assert "\x07" not in text


def test_with_colours_trained_tokens_are_green_masked_dim_and_special_reversed(coloured):
    assert "⟦" not in coloured
    assert "\x1b[32mit is.\x1b[0m" in coloured.replace("\x1b[0m\x1b[32m", "")
    assert "\x1b[7;32m<|im_end|>\x1b[0m" in coloured
    assert "\x1b[2;7m<|im_start|>\x1b[0m" in coloured


def test_pairs_show_both_completions_and_their_edit_distance(told, printed):
    dpo = told["phases"]["dpo"]
    first = dpo["pairs"][0]
    assert (first["prompt"], first["chosen"], first["rejected"]) == ("0 + 1?", "It is 1.", "It is 2.")
    assert (first["edit_distance"], first["share"]) == (1, pytest.approx(1 / 8))
    assert dpo["edit_distances"]["pairs"] == 30
    assert dpo["edit_distances"]["median"] == 1
    assert [sample["part"] for sample in dpo["samples"][:2]] == ["chosen", "rejected"]
    assert "chosen: It is ⟦1⟧." in printed
    assert "rejected: It is ⟦2⟧." in printed
    assert "Edit distance of chosen and rejected in 30 pairs: median 1 character" in printed


def test_the_page_says_the_same_and_is_the_only_thing_written(chat, tmp_path):
    before = set(chat.parent.iterdir())
    answer = raycipe("preview", chat, "--html", tmp_path / "page.html")
    assert answer.code == 0, answer.err
    assert answer.out == f"preview: {tmp_path / 'page.html'}\n"
    assert set(chat.parent.iterdir()) == before
    assert list(tmp_path.iterdir()) == [tmp_path / "page.html"]
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "[U+001B][31mred" in page
    assert "\x1b" not in page


def test_a_runs_own_tokenizer_is_taken_where_it_is_the_recipes(chat, tmp_path):
    trained = tmp_path / "runs" / "chat" / "tokenize" / "tokenizer"
    tokenizer = small_tokenizer(chat.parent / "chat.jsonl")
    tokenizer.save_pretrained(trained)
    (tmp_path / "runs" / "chat" / "recipe.yaml").write_text(raycipe("show", chat).out)
    taken = shown(chat, "--runs-dir", tmp_path / "runs")["phases"]["sft"]
    assert taken["tokenizer"] == f"the run's, {trained}"
    assert all(max(piece["ids"]) < len(tokenizer) for sample in taken["samples"] for piece in sample["pieces"])
    other = shown(chat, "model.tokenizer.train.vocabulary=500", "--runs-dir", tmp_path / "runs")["phases"]["sft"]
    assert other["tokenizer"].startswith("trained on")
    assert load_tokenizer(trained).get_vocab() == tokenizer.get_vocab()


def small_tokenizer(file: Path) -> Any:
    """A tokenizer of a file's text, as `raycipe tokenize` would leave it."""
    rows = [{"id": "a", "source": "a", "text": file.read_text()}]
    return train_tokenizer(lambda: [pa.Table.from_pylist(rows, DOCUMENTS)], 300, 10_000)


def test_a_tokenizer_that_is_not_here_ends_with_3_after_the_sources_are_shown(chat):
    settings = ("model.tokenizer.train=null", "model.tokenizer.name=nobody/no-such-tokenizer")
    answer = raycipe("preview", chat, *settings)
    assert answer.code == 3
    assert "tokenizer nobody/no-such-tokenizer: cannot be loaded" in answer.err
    assert "user: Say it:" in answer.out


def test_a_preview_needs_no_ray(chat):
    code = "import sys; sys.modules['ray'] = None; from ray_jobs.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "preview", str(chat), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["phases"]) == {"sft", "dpo"}
