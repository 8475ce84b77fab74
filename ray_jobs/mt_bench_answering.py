"""A model's answers to MT-Bench's questions, kept as they come; one that is kept is not asked for again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from core.artifacts.fingerprint import files_identity, fingerprint
from core.evaluation.mt_bench.answers import Answer, answer_batch, answer_by_endpoint
from core.evaluation.mt_bench.benchmark import Question
from core.evaluation.mt_bench.endpoint import Endpoint
from core.evaluation.mt_bench.judging import many
from core.evaluation.mt_bench.lines import KeptLines, Row
from core.evaluation.mt_bench.options import MtBench
from core.evaluation.scorer import weight_bytes
from ray_jobs.parallel import each_prepared
from ray_jobs.scorers import BF16, devices_of, scorer_room
from ray_jobs.session import RaySession

Batch = tuple[int, list[Answer]]  # the number of its first question, and answers


@dataclass(frozen=True)
class Answering:
    """A model, and what it is asked. A model here answers batches, one behind an endpoint question by question."""

    model: str | Path | Endpoint  # a directory or a hub's name; or an endpoint
    name: str
    questions: Sequence[Question]
    options: MtBench
    seed: int

    @property
    def batch_size(self) -> int:
        """Questions that are answered and kept together."""
        return 1 if isinstance(self.model, Endpoint) else self.options.batch_size

    def keys(self) -> list[str]:
        """Of each question all that its answer hangs on, the other questions of its batch among it."""
        common: dict[str, Any] = {"seed": self.seed, "max_new_tokens": self.options.max_new_tokens}
        if isinstance(self.model, Endpoint):
            common |= {"url": self.model.url, "model": self.model.model}
        else:
            common |= {"model": str(self.model), "files": files_identity(Path(self.model))}
        found = []
        for begin in range(0, len(self.questions), self.batch_size):
            batch = [[each.id, each.category, each.turns] for each in self._batch(begin)]
            found += [fingerprint({**common, "batch": batch, "place": place}) for place in range(len(batch))]
        return found

    def answer(self, kept: KeptLines, session: RaySession | None, use_gpu: bool) -> Iterator[int]:
        """Has every batch answered of which something is missing; yields how many answers there are, as they come.

        session: None answers in this process.
        """
        keys = self.keys()
        begins = range(0, len(keys), self.batch_size)
        missing = [each for each in begins if any(key not in kept for key in keys[each : each + self.batch_size])]
        done = len(keys) - sum(len(self._batch(begin)) for begin in missing)
        yield done
        if isinstance(self.model, Endpoint):
            found = many(self._ask, missing, self.options.concurrency)
        else:
            found = self._generate(missing, session, use_gpu)
        for begin, answers in found:
            kept.keep(*map(self._row, keys[begin : begin + len(answers)], self._batch(begin), answers))
            done += len(answers)
            yield done

    def _batch(self, begin: int) -> Sequence[Question]:
        return self.questions[begin : begin + self.batch_size]

    def _row(self, key: str, question: Question, answer: Answer) -> Row:
        """As FastChat's, and what it does not have."""
        return {
            "key": key,
            "question_id": question.id,
            "model_id": self.name,
            "choices": [{"index": 0, "turns": answer.turns}],
            "finish_reasons": answer.finish_reasons,
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
        }

    def _ask(self, begin: int) -> Batch:
        assert isinstance(self.model, Endpoint)
        question = self.questions[begin]
        return begin, [answer_by_endpoint(self.model, question, self.seed, self.options.max_new_tokens)]

    def _generate(self, begins: Sequence[int], session: RaySession | None, use_gpu: bool) -> Iterator[Batch]:
        """By a worker for each GPU, or for as many as the model needs, else for each CPU."""
        resources = session.require() if session is not None else {}
        directory = self.model
        assert not isinstance(directory, Endpoint)
        gpus, workers, device = 0, int(resources.get("CPU", 1)), "cuda"
        if session is not None and use_gpu and resources.get("GPU"):
            gpus = devices_of(session, weight_bytes(Path(directory), BF16))
            workers, device = scorer_room(session, gpus, self.name), "auto" if gpus > 1 else "cuda"
        one_thread = session is not None and not gpus

        def prepare() -> Callable[[int], str]:
            import torch

            from core.models.create import load_model
            from core.tokens.tokenizer import load_tokenizer

            if one_thread:
                torch.set_num_threads(1)
            on_gpu = use_gpu and torch.cuda.is_available()
            model = load_model(directory, dtype="bf16", device=device) if on_gpu else load_model(directory)
            tokenizer = load_tokenizer(directory)

            def work(begin: int) -> str:
                answers = answer_batch(model, tokenizer, self._batch(begin), self.seed, self.options.max_new_tokens)
                return orjson.dumps([int(begin), [asdict(answer) for answer in answers]]).decode()

            return work

        for line in each_prepared(session, prepare, begins, workers, gpus=gpus):
            begin, answers = orjson.loads(line)
            yield begin, [Answer(**each) for each in answers]
