"""Min-K% Prob and the neighbour test of `raycipe contamination`, each pair of model and task a Ray task of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from core.artifacts.atomic import write_json
from core.artifacts.seeds import derive_seed
from core.evaluation.contamination import Subsets, mean
from ray_jobs.job import Job
from ray_jobs.parallel import each

Pair = dict[str, str]  # model and task


@dataclass(frozen=True)
class Memorisation:
    """The tests of models on tasks. What is in `directory` already is not done again."""

    directory: Path
    models: dict[str, Path]  # where each lies
    texts: dict[str, dict[str, str]]  # question and answer, by task and item
    seed: int
    min_k: float | None  # percent; None: not that test
    reference: str | None  # that the neighbours come from; None: not that test

    def run(self, job: Job, subsets: dict[str, Subsets]) -> dict[str, Any]:
        """What `contamination.json` has of them. subsets: the items of each task."""
        wants_gpu = job.recipe.resources.device != "cpu"
        gpus = 1 if wants_gpu and job.session.require().get("GPU") else 0
        if self.reference is not None:
            with job.reporter.bar("contamination: neighbours", len(self.texts)) as bar:
                for _ in each(job.session, self.write_neighbours, list(self.texts), gpus=gpus):
                    bar.advance()
        pairs = [{"model": model, "task": task} for model in self.models for task in self.texts]
        with job.reporter.bar("contamination: models", len(pairs)) as bar:
            for _ in each(job.session, self.judge, pairs, gpus=gpus):
                bar.advance()
        found = {}
        judged = [(pair, orjson.loads(self._result(pair).read_bytes())) for pair in pairs]
        if self.min_k is not None:
            rows = [{**pair, **_of_subsets(result["min_k"], subsets[pair["task"]])} for pair, result in judged]
            found["min_k"] = {"k": self.min_k, "rows": rows}
        if self.reference is not None:
            rows = [{**pair, **result["neighbours"]} for pair, result in judged]
            found["neighbours"] = {"reference": self.reference, "rows": rows}
        return found

    def _result(self, pair: Pair) -> Path:
        return self.directory / "judged" / pair["model"] / f"{pair['task']}.json"

    def _neighbours(self, task: str) -> Path:
        return self.directory / "neighbours" / f"{task}.json"

    def write_neighbours(self, task: str) -> str:
        """Lets the reference model write the neighbours of a task's examples."""
        if not self._neighbours(task).exists():
            from core.evaluation.memorisation import examples, neighbours

            model, tokenizer = _loaded(str(self.reference))
            texts = {item: text for item, text in self.texts[task].items() if text}
            written = {
                item: neighbours(model, tokenizer, texts[item], derive_seed(self.seed, "neighbours", task, item))
                for item in examples(list(texts))
            }
            write_json(self._neighbours(task), written)
        return task

    def judge(self, pair: Pair) -> str:
        """Both tests of a pair, as far as they are asked for."""
        if not self._result(pair).exists():
            model, tokenizer = _loaded(self.models[pair["model"]])
            found: dict[str, Any] = {}
            if self.min_k is not None:
                found["min_k"] = self._min_k(pair["task"], model, tokenizer)
            if self.reference is not None:
                found["neighbours"] = self._compare(pair["task"], model, tokenizer)
            write_json(self._result(pair), found)
        return f"{pair['model']} {pair['task']}"

    def _min_k(self, task: str, model: Any, tokenizer: Any) -> dict[str, float]:
        from core.evaluation.memorisation import min_k_prob, token_logps

        assert self.min_k is not None
        logps = token_logps(model, tokenizer, list(self.texts[task].values()))
        of_items = zip(self.texts[task], logps, strict=True)
        return {item: min_k_prob(of_item, self.min_k) for item, of_item in of_items if len(of_item)}

    def _compare(self, task: str, model: Any, tokenizer: Any) -> dict[str, Any]:
        from core.evaluation.memorisation import FLAGGED_ABOVE, neighbour_score, share_below

        written = orjson.loads(self._neighbours(task).read_bytes())
        found = (share_below(model, tokenizer, self.texts[task][item], others) for item, others in written.items())
        shares = [share for share in found if share is not None]
        score = neighbour_score(shares) if shares else None
        return {"examples": len(shares), "score": score, "flagged": score is not None and score > FLAGGED_ABOVE}


def _of_subsets(scores: dict[str, float], subsets: Subsets) -> dict[str, float | None]:
    """The mean of each subset, and how well dirty items are told from clean ones."""
    from core.evaluation.memorisation import auc

    of = {name: [scores[str(item)] for item in items if str(item) in scores] for name, items in subsets.items()}
    return {name: mean(values) for name, values in of.items()} | {"auc": auc(of["dirty"], of["clean"])}


def _loaded(name: str | Path) -> tuple[Any, Any]:
    """A model and its tokenizer, in bf16 on a GPU and in fp32 on a CPU, as lm-eval has them."""
    import torch

    from core.models.create import load_model
    from core.tokens.tokenizer import load_tokenizer

    if torch.cuda.is_available():  # Ray hides GPUs from tasks that ask for none
        return load_model(name, dtype="bf16", device="cuda"), load_tokenizer(name)
    torch.set_num_threads(1)  # one task per CPU
    return load_model(name), load_tokenizer(name)
