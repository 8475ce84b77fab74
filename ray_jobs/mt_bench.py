"""`raycipe mt-bench`: a model answers MT-Bench's questions, and a judge behind an endpoint rates the answers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from core.artifacts.atomic import write_bytes, write_json
from core.artifacts.fingerprint import fingerprint
from core.artifacts.stage import locked
from core.errors import DataError, RecipeError
from core.evaluation.mt_bench.answers import LENGTH, NO_ROOM
from core.evaluation.mt_bench.benchmark import Benchmark, read_benchmark
from core.evaluation.mt_bench.endpoint import Endpoint
from core.evaluation.mt_bench.judging import judge
from core.evaluation.mt_bench.lines import KeptLines, Row
from core.evaluation.mt_bench.options import URL, MtBench
from core.evaluation.mt_bench.scores import cost, samples, score_rows, scores
from ray_jobs.mt_bench_answering import Answering
from ray_jobs.mt_bench_table import print_mt_bench
from ray_jobs.progress import Reporter
from ray_jobs.session import RaySession

PROBE = 16  # tokens that the judge may write to show that it is there
ANSWERS, JUDGMENTS, RESULT = "answers.jsonl", "judgments.jsonl", "mt_bench.json"


def mt_bench(
    model: str,
    model_url: str | None,
    model_key_variable: str,
    settings: Mapping[str, Any],
    out: Path | None,
    seed: int,
    address: str | None,
    as_json: bool,
) -> None:
    """The command. settings: keys of MtBench; those that are None are not given."""
    options = _options(settings)
    source: str | Endpoint = model
    if model_url is not None:
        if not re.match(URL, model_url):
            raise RecipeError(f"--model-url: found '{model_url}', expected an http or https URL without a password")
        source = Endpoint(model_url, model, model_key_variable, options.retries, options.timeout)
    directory = (out or Path("mt_bench") / re.sub(r"[^\w.-]+", "-", model).strip("-")).absolute()
    benchmark = read_benchmark(Path(options.data), options.limit)
    reporter = Reporter()
    session = RaySession(address, reporter.say)
    try:
        with locked(directory):
            result, *_ = Grading(benchmark, options, seed, session, reporter).grade(source, model, directory)
    finally:
        session.close()
    if as_json:
        print(json.dumps(result))
    else:
        print_mt_bench(result, directory / JUDGMENTS)


def _options(settings: Mapping[str, Any]) -> MtBench:
    try:
        return MtBench(**{name: value for name, value in settings.items() if value is not None})
    except ValidationError as error:
        told = [
            f"--{str(each['loc'][0]).replace('_', '-')}: found {each['input']!r}; {each['msg']}"
            for each in error.errors()
        ]
        raise RecipeError("\n".join(told)) from error


@dataclass(frozen=True)
class Grading:
    """MT-Bench as it is asked for, for any model."""

    benchmark: Benchmark
    options: MtBench
    seed: int
    session: RaySession | None  # None: models answer in this process
    reporter: Reporter
    use_gpu: bool = True  # where there is one

    def settings(self) -> dict[str, Any]:
        """What scores hang on beside the model: those of other settings are not comparable."""
        return {
            "judge": self.options.judge_model,
            "questions": len(self.benchmark.questions),
            "data": fingerprint(asdict(self.benchmark)),
            "max_new_tokens": self.options.max_new_tokens,
            "judge_max_tokens": self.options.judge_max_tokens,
            "seed": self.seed,
        }

    def grade(
        self, model: str | Path | Endpoint, name: str, directory: Path
    ) -> tuple[dict[str, Any], dict[int | str, list[str]], list[Row]]:
        """Has a model answer and the judge rate what is not kept in `directory` yet.

        Returns the result, the model's answers to each question, and the judgments.

        The judge is asked for a word before a model answers anything: a wrong address or key is told at once. Raises
        DataError where the model has no fitting chat template, ResourceError where model or judge cannot be had.
        """
        options = self.options
        judging = Endpoint(
            options.judge_url, options.judge_model, options.judge_key_variable, options.retries, options.timeout
        )
        answers = self._answers(
            Answering(model, name, self.benchmark.questions, options, self.seed), judging, directory
        )
        turns = {row["question_id"]: row["choices"][0]["turns"] for row in answers}
        judgments = []
        kept = KeptLines(directory / JUDGMENTS)
        with self.reporter.bar(f"mt-bench: {name} is judged", sum(map(len, turns.values()))) as bar:
            for row in judge(self.benchmark, turns, judging, kept, name, options.judge_max_tokens, options.concurrency):
                judgments.append(row)
                bar.advance()
        reasons = [reason for row in answers for reason in row["finish_reasons"]]
        result = {
            "model": name,
            "judge": {"url": judging.url, "model": judging.model},
            "settings": self.settings(),
            "fingerprint": fingerprint(self.settings()),
            **scores(self.benchmark, judgments),
            "answers": {
                "cut_off": reasons.count(LENGTH),
                "no_room": reasons.count(NO_ROOM),
                **{tokens: sum(row[tokens] for row in answers) for tokens in ("prompt_tokens", "completion_tokens")},
            },
            "cost": cost(judgments, options.prompt_price, options.completion_price),
            "judged_now": sum(row["new"] for row in judgments),
        }
        write_json(directory / RESULT, result)
        return result, turns, judgments

    def _answers(self, answering: Answering, judging: Endpoint, directory: Path) -> list[Row]:
        """A row for each question."""
        kept = KeptLines(directory / ANSWERS)
        keys = answering.keys()
        if any(key not in kept for key in keys):
            judging.complete([{"role": "user", "content": "Hello."}], temperature=0, max_tokens=PROBE)
            with self.reporter.bar(f"mt-bench: {answering.name} answers", len(keys)) as bar:
                for done in answering.answer(kept, self.session, self.use_gpu):
                    bar.at(done)
        return [kept[key] for key in keys]


def judge_models(grading: Grading, models: Mapping[str, Path], directory: Path, samples_dir: Path) -> list[Row]:
    """Grades model directories by name. Returns rows of scores as lm-eval's tasks have them, of the task mt_bench.

    directory: where answers and judgments of each are kept; samples_dir: where each gets MODEL/mt_bench.jsonl, by which
    models are compared question by question. Raises as `Grading.grade`, and DataError where the judge rated nothing.
    """
    rows = []
    for name, model in models.items():
        result, turns, judgments = grading.grade(model, name, directory / name)
        if not result["rated"]:
            raise DataError(
                f"mt_bench: {result['judge']['model']} at {result['judge']['url']} rated none of {result['unrated']} "
                f"answers of {name}; what it said is in {directory / name / JUDGMENTS}"
            )
        found = samples(grading.benchmark.questions, turns, judgments)
        lines = [orjson.dumps(each, option=orjson.OPT_APPEND_NEWLINE) for each in found]
        write_bytes(samples_dir / name / "mt_bench.jsonl", b"".join(lines))
        rows += [{"model": name, **row, "fingerprint": result["fingerprint"]} for row in score_rows(result)]
    return rows


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("mt-bench")
