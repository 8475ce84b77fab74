"""Scores are lm-eval's: to the last digit in its own batches, and within rounding where prefixes are shared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM as Models
from transformers import AutoTokenizer, GPTNeoXConfig, LlamaConfig, MistralConfig, Qwen3Config

from core.errors import DataError
from core.evaluation.task_files import find_tasks, write_tasks
from core.tokens.tokenizer import train_tokenizer
from tests.evaluation.made_tasks import TASKS, evaluated, made_options, made_rows
from tests.tokens.conftest import text_documents

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
FAMILIES = {
    "llama": LlamaConfig(**SIZES, num_key_value_heads=2, max_position_embeddings=512),
    "mistral": MistralConfig(**SIZES, num_key_value_heads=2, max_position_embeddings=512, sliding_window=None),
    "qwen": Qwen3Config(**SIZES, num_key_value_heads=1, head_dim=16, max_position_embeddings=512),
    "neox": GPTNeoXConfig(**SIZES, max_position_embeddings=512),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A random model of each family, with one tokenizer that knows the words of the tasks."""
    texts = [row["text"] for row in made_rows(20, 0)]
    tokenizer = train_tokenizer(lambda: [text_documents(texts)], 400, 10_000)
    found = {}
    for name, config in FAMILIES.items():
        torch.manual_seed(7)
        config.vocab_size = len(tokenizer)
        config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
        model = Models.from_config(config)
        for weight in model.parameters():
            weight.data *= 3  # so that answers differ
        found[name] = tmp_path_factory.mktemp(name)
        model.save_pretrained(found[name])
        tokenizer.save_pretrained(found[name])
    return found


@pytest.fixture(scope="module")
def of_stock(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Of each family, stock lm-eval's results of all tasks."""
    directory = tmp_path_factory.mktemp("stock")
    write_tasks(find_tasks(made_options(directory, list(TASKS)), directory), directory / "tasks", seed=42)
    return {family: stock(model_dir, directory, list(TASKS), 4) for family, model_dir in models.items()}


def stock(model_dir: Path, directory: Path, tasks: list[str], batch_size: int) -> dict[str, Any]:
    """Each task by lm-eval as its own documentation calls it; without its list of installed packages, which is slow.

    With one thread, as scorers have: with more, torch may add up in another order.
    """
    torch.set_num_threads(1)
    manager = TaskManager(include_path=str(directory / "tasks"), include_defaults=False)
    model = HFLM(pretrained=str(model_dir), device="cpu", batch_size=batch_size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lm_eval.evaluator.add_env_info", lambda results: None)
        patch.setenv("DISABLE_MULTIPROC", "1")  # its bootstrap forks the process of the tests, which can hang
        return {
            task: simple_evaluate(model=model, tasks=[task], task_manager=manager, bootstrap_iters=1000)
            for task in tasks
        }


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_in_stock_batches_equal_lm_evals_to_the_last_digit(models, of_stock, tmp_path, family, monkeypatch):
    monkeypatch.delattr("multiprocessing.Pool")  # a process with Ray's and torch's threads is not forked
    require_same(models[family], of_stock[family], tmp_path)


def require_same(model_dir: Path, of_stock: dict[str, dict[str, Any]], directory: Path) -> None:
    """All tasks in stock batches of 4: answers and scores are stock lm-eval's."""
    options = made_options(directory, list(TASKS), exact=True, batch_size=4)
    found, samples = evaluated(model_dir, options, directory)
    for task, expected in of_stock.items():
        assert answers(samples[task]) == answers(json.loads(json.dumps(expected["samples"][task], default=str)))
        rows = [row for row in found["rows"] if row["task"] == task]
        assert rows
        for row in rows:
            assert row["value"] == expected["results"][task][f"{row['metric']},{row['filter']}"]
            error = expected["results"][task][f"{row['metric']}_stderr,{row['filter']}"]
            assert row["stderr"] == (error if isinstance(error, float) else None)
    assert found["why_stock"] == "evaluate.exact"


@pytest.mark.parametrize("family", FAMILIES)
def test_shared_prefixes_give_the_same_answers_within_rounding(models, of_stock, tmp_path, family):
    options = made_options(tmp_path, list(TASKS), batch_tokens=600)
    found, samples = evaluated(models[family], options, tmp_path)
    assert found["why_stock"] is None
    differ = 0.0
    for task, expected in of_stock[family].items():
        theirs = answers(json.loads(json.dumps(expected["samples"][task], default=str)))
        for one, other in zip(flat(answers(samples[task])), flat(theirs), strict=True):
            if isinstance(one, float):
                differ = max(differ, abs(one - other))
                assert one == pytest.approx(other, abs=1e-4, rel=1e-6)
            else:
                assert one == other
    assert differ > 0  # it is another way to compute them
    drifts = {row["task"]: row["drift"] for row in found["rows"]}
    assert all((drift is None) == task.startswith("answer") for task, drift in drifts.items())
    assert 0 < max(drift for drift in drifts.values() if drift is not None) <= differ


def answers(samples: list[dict[str, Any]]) -> list[Any]:
    return [[sample["doc_id"], sample["arguments"], sample["resps"]] for sample in samples]


def flat(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [each for part in value for each in flat(part)]
    return [float(value)] if isinstance(value, float) else [value]


def test_what_was_answered_is_not_asked_again(models, tmp_path):
    class Refusing:
        def score(self, model, chunks):
            assert not chunks
            return iter(())

        def why_stock(self, model):
            raise AssertionError

    options = made_options(tmp_path, ["choice_few_shot", "answer", "rolling"])
    first, samples = evaluated(models["llama"], options, tmp_path)
    again, same = evaluated(models["llama"], options, tmp_path, scorers=Refusing())
    assert (again, same) == (first, samples)
    with pytest.raises(AssertionError):
        evaluated(models["mistral"], options, tmp_path, scorers=Refusing())  # another model's answers


def test_a_model_in_bf16_is_asked_in_bf16_where_it_is_to_be_exact(models, tmp_path):
    directory = tmp_path / "bf16"
    shutil.copytree(models["llama"], directory)
    Models.from_pretrained(directory, dtype=torch.bfloat16).save_pretrained(directory)
    found, samples = evaluated(directory, made_options(tmp_path, ["choice"], exact=True), tmp_path)
    expected = stock(directory, tmp_path, ["choice"], 16)["choice"]["samples"]["choice"]
    assert answers(samples["choice"]) == answers(json.loads(json.dumps(expected, default=str)))
    assert found["settings"]["choice"]["dtype"] == "auto"


@pytest.mark.parametrize("sampled", ["do_sample: true, temperature: 1.5", "temperature: 1.5"])  # the second is as much
def test_sampled_answers_are_the_same_under_one_seed_and_not_reused_under_another(models, tmp_path, sampled):
    options = made_options(tmp_path, ["answer_alone"])
    path = tmp_path / "answer_alone.yaml"
    path.write_text(path.read_text().replace("max_gen_toks: 40", f"max_gen_toks: 20, {sampled}"))
    said = []
    for seed, place in ((1, "one"), (1, "other"), (2, "other")):
        found, samples = evaluated(models["llama"], options, tmp_path, seed=seed, answers=tmp_path / place)
        assert found["settings"]["answer_alone"]["batches"] == "lm-eval's, of 16"  # nothing is shared
        torch.manual_seed(seed + 5)  # what else was drawn before does not count
        said.append([sample["resps"] for sample in samples["answer_alone"]])
    assert said[0] == said[1]
    assert said[0] != said[2]


def test_a_model_that_gives_no_numbers_is_named(models, tmp_path):
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(models["llama"], broken)
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match="broken: the model's log-likelihoods are no numbers"):
        evaluated(broken, made_options(tmp_path, ["choice"]), tmp_path)


def test_requests_longer_than_the_model_are_counted(models, tmp_path):
    options = made_options(tmp_path, ["choice_few_shot", "choice", "answer"])
    rows = made_rows(20, 0)
    rows[3]["question"] = rows[4]["question"] = "the river by the stone " * 400
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for more in ({}, {"exact": True}):
        found, samples = evaluated(models["llama"], options.model_copy(update=more), tmp_path)
        truncated = {row["task"]: row["truncated"] for row in found["rows"]}
        assert truncated == {"choice_few_shot": 6, "choice": 6, "answer": 2}
    expected = stock(models["llama"], tmp_path, ["choice"], 16)["choice"]["samples"]["choice"]
    assert answers(samples["choice"]) == answers(json.loads(json.dumps(expected, default=str)))


def test_a_model_that_allows_no_sharing_is_asked_as_stock_lm_eval_asks(models, tmp_path):
    directory = tmp_path / "short"
    config = MistralConfig(**SIZES, num_key_value_heads=2, max_position_embeddings=512, sliding_window=8)
    tokenizer = AutoTokenizer.from_pretrained(models["mistral"])
    config.vocab_size = len(tokenizer)
    Models.from_config(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    options = made_options(tmp_path, ["choice"])
    found, samples = evaluated(directory, options, tmp_path)
    assert found["why_stock"] == "its sliding window of 8 tokens is very short"
    expected = stock(directory, tmp_path, ["choice"], 16)["choice"]["samples"]["choice"]
    assert answers(samples["choice"]) == answers(json.loads(json.dumps(expected, default=str)))
