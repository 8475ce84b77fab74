"""The `raycipe` command. Heavy imports wait until a verb needs them: `raycipe --help` is quick."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from core.errors import RaycipeError

STOPPED = 130

app = typer.Typer(
    name="raycipe",
    help="Trains language models from recipes, on Ray: infer, curate, tokenize, train, evaluate, report.",
    epilog="Start with: raycipe run quickstart        Exit codes: 0 done, 1 our bug, 2 recipe, arguments or data are "
    "wrong, 3 it does not fit or a resource is missing, 130 stopped by you (the same command goes on).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe's name, or a .yaml file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY.PATH=VALUE]...", help="Changes to the recipe, as YAML values."),
]
Scale = Annotated[str | None, typer.Option(help="One of the recipe's scales, e.g. tiny.")]
RunsDir = Annotated[Path, typer.Option(help="Where runs are kept.", envvar="RAYCIPE_RUNS_DIR")]
RunName = Annotated[str | None, typer.Option(help="The run's name; default: the recipe's, with the scale.")]
Address = Annotated[
    str | None,
    typer.Option(help="A running Ray to join (auto, host:port); default: RAY_ADDRESS, else a local one."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON on stdout.")]


@app.command(epilog="Example: raycipe recipes --json")
def recipes(as_json: Json = False) -> None:
    """List the recipes that come with Raycipe."""
    from ray_jobs import recipes as job

    job.recipes(as_json)


@app.command(epilog="Example: raycipe show quickstart train.sft.epochs=1")
def show(recipe: RecipeName, overrides: Overrides = None, scale: Scale = None, as_json: Json = False) -> None:
    """Print the resolved recipe, each value marked with where it comes from."""
    from ray_jobs import show as job

    job.show(recipe, scale, overrides, as_json)


@app.command(epilog="Example: raycipe keys checkpoints        Example: raycipe keys minhash")
def keys(
    word: Annotated[str | None, typer.Argument(help="Only keys in whose path it stands.")] = None, as_json: Json = False
) -> None:
    """List the keys that a recipe may have: what each takes, its default, and what it means."""
    from ray_jobs import keys as job

    job.keys(word, as_json)


@app.command(epilog="Example: raycipe check my-recipe.yaml")
def check(recipe: RecipeName, overrides: Overrides = None, scale: Scale = None, as_json: Json = False) -> None:
    """Find everything that is wrong with a recipe, in all its scales, without starting anything."""
    from ray_jobs import check as job

    job.check(recipe, scale, overrides, as_json)


@app.command(
    help="Show what a recipe's training takes, before anything is started: memory, time, disk and money.\n\n"
    "With --hardware: each phase's memory in its parts, steps, FLOPs, disk and time, and where it does not fit (exit "
    "code 3) the settings with which it would. Without: what it takes on this machine and on common GPUs.\n\n"
    "What is learned from is counted by a run of the same data where there is one; else it is what data.mixture says.",
    epilog="Example: raycipe plan birbal-200k --hardware rtx4090        "
    "Example: raycipe plan goat-7b --hardware 8xa100-80gb --price 1.9        "
    "Example: raycipe plan moxin-7b --hardware 64xh100 data.mixture.tulu=326154 --json",
)
def plan(
    recipe: RecipeName,
    overrides: Overrides = None,
    scale: Scale = None,
    hardware: Annotated[
        str | None,
        typer.Option(help="rtx4090, 8xa100-80gb, ..., or here: this machine. Without a number: as many as are asked."),
    ] = None,
    price: Annotated[float | None, typer.Option(min=0, help="Of a device's hour, in any currency.")] = None,
    document_tokens: Annotated[
        float, typer.Option(min=1, help="Tokens that a document has, where no run has counted them.")
    ] = 300,
    efficiency: Annotated[float, typer.Option(min=0.01, max=1, help="Of the hardware's peak that is reached.")] = 0.5,
    runs_dir: RunsDir = Path("runs"),
    run_name: RunName = None,
    as_json: Json = False,
) -> None:
    from ray_jobs import plan as job

    asked = job.Asked(recipe, scale, list(overrides or []), runs_dir, run_name, document_tokens, efficiency, price)
    job.plan(asked, hardware, as_json)


@app.command(
    help="Show what a recipe would train on, before anything is run.\n\n"
    "The first documents of each source, with what every row-wise step says of them. What each phase makes of those "
    "that are left, token by token, coloured by what is trained on, special tokens visible; of preference pairs, both "
    "completions and their edit distance. Counts of trained, masked and truncated tokens, what is refused, and how "
    "full packed rows are, over --sample documents of each source.\n\n"
    "A tokenizer that the recipe trains is the run's where it has one, else one trained on the documents counted.",
    epilog="Example: raycipe preview quickstart --documents 2        "
    "Example: raycipe preview my-recipe.yaml --html preview.html train.sft.data.sequence_length=1024        "
    "Example: raycipe preview quickstart --sample 5000 --json",
)
def preview(
    recipe: RecipeName,
    overrides: Overrides = None,
    scale: Scale = None,
    documents: Annotated[int, typer.Option(min=1, help="Documents shown of each source.")] = 3,
    sample: Annotated[
        int, typer.Option(min=1, help="Documents of each source of which tokens are counted: the first ones.")
    ] = 1000,
    html: Annotated[Path | None, typer.Option(help="Write it as a page, one file, in place of printing it.")] = None,
    runs_dir: RunsDir = Path("runs"),
    run_name: RunName = None,
    as_json: Json = False,
) -> None:
    from ray_jobs import preview as job

    job.preview(recipe, scale, overrides, documents, sample, html, runs_dir, run_name, as_json)


def _stage_command(name: str, stages: list[str], example: str, help_text: str) -> None:
    """Adds a verb that carries out stages; those that are finished are skipped."""

    @app.command(name, help=help_text, epilog=f"Example: raycipe {example}")
    def command(
        recipe: RecipeName,
        overrides: Overrides = None,
        scale: Scale = None,
        runs_dir: RunsDir = Path("runs"),
        run_name: RunName = None,
        address: Address = None,
        as_json: Json = False,
    ) -> None:
        from ray_jobs import run as job

        job.run_stages(stages, recipe, overrides, scale, runs_dir, run_name, address, as_json)


_stage_command(
    "infer",
    ["infer"],
    "infer birbal-200k --scale tiny",
    "Let the base model answer Natural Instructions' tasks, few-shot, for the step sample_by_score to draw by.",
)
_stage_command(
    "curate",
    ["curate"],
    "curate quickstart --json",
    "Read the sources, filter, deduplicate, decontaminate and mix; every drop is kept aside with its reason.",
)
_stage_command(
    "tokenize",
    ["curate", "tokenize"],
    "tokenize quickstart",
    "Turn curated documents into packed token shards (does first what is not done).",
)
_stage_command(
    "train",
    ["curate", "tokenize", "train"],
    "train quickstart train.sft.method=qlora",
    "Train the recipe's phases in order (does first what is not done).",
)


@app.command(
    help="Score the base and the trained model with lm-eval (does first what is not done).\n\n"
    "Requests are spread over all CPUs, or GPUs; scores are the same bytes for any number of them. What is answered is "
    "kept beside the runs, in .answers, for this and any other run.",
    epilog="Example: raycipe evaluate quickstart evaluate.limit=50        Example: raycipe evaluate quickstart --exact",
)
def evaluate(
    recipe: RecipeName,
    overrides: Overrides = None,
    exact: Annotated[
        bool,
        typer.Option("--exact", help="In stock lm-eval's own batches, equal to it in the last digit, but slower."),
    ] = False,
    scale: Scale = None,
    runs_dir: RunsDir = Path("runs"),
    run_name: RunName = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    from ray_jobs import run as job

    stages = ["curate", "tokenize", "train", "evaluate"]
    changes = [*(overrides or []), *(["evaluate.exact=true"] if exact else [])]
    job.run_stages(stages, recipe, changes, scale, runs_dir, run_name, address, as_json)


_stage_command(
    "sweep",
    ["sweep", "report"],
    "sweep quickstart sweep.scheduler=asha",
    "Train the recipe many times with values from a search space, and score each; `run` then takes the best on.",
)
_stage_command("report", ["report"], "report quickstart", "Write the page of a run from what is there.")
_stage_command(
    "run",
    ["curate", "tokenize", "train", "evaluate", "report"],
    "run quickstart --runs-dir /data/runs train.sft.learning_rate=1e-3",
    "The whole recipe: curate, tokenize, train, evaluate, report. Stopped anywhere, it goes on.",
)


@app.command(
    help="Take near-duplicates out of any Parquet or JSON Lines files, without a recipe.\n\n"
    "OUT/kept/part-*.parquet has the kept rows with all their columns and types, in input order, a file for each part "
    "of the input: a file, or about 128 MB of a larger one. JSON Lines become columns of one schema for all files: "
    "objects have all keys of their column, null where they lack one, and whole numbers up to 2^53 become numbers with "
    "a point where others have one. A column whose values fit no common type, or whose objects have more than 256 "
    "different keys, is kept as the text of each value in JSON, as it was but for white space, the way a number is "
    "written, and whole numbers beyond 64 bits, which are rounded to numbers with a point.\n\n"
    "OUT/removed/part-*.parquet has the removed rows with cluster_id (the id of the first document of the cluster), "
    "kept_id (of the one that stayed in its place) and jaccard (their exact similarity; null with --no-verify).\n\n"
    "OUT/dedup.json has what --json prints.",
    epilog="Example: raycipe dedup crawl/*.parquet more.jsonl.zst --out clean --threshold 0.8 --json        "
    "Example: raycipe dedup code.parquet --out clean --preset the_stack --text-field content --id-field hexsha",
)
def dedup(
    files: Annotated[
        list[str], typer.Argument(help="Parquet or JSON Lines (.gz, .zst too): paths, patterns in quotes, fsspec URLs.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="New or empty directory; the same command again goes on in it. What another command left there that "
            "was stopped is deleted; a finished result is not."
        ),
    ],
    threshold: Annotated[
        float | None, typer.Option(help="Jaccard similarity of n-grams from which on they are duplicates; default 0.8.")
    ] = None,
    ngram: Annotated[int | None, typer.Option(help="Tokens in an n-gram; default 5.")] = None,
    unit: Annotated[str | None, typer.Option(help="What a token is: word (default) or character.")] = None,
    permutations: Annotated[int | None, typer.Option(help="Length of a MinHash signature; default 128.")] = None,
    bands: Annotated[int | None, typer.Option(help="Bands of it, with --rows-per-band; else the optimum.")] = None,
    rows_per_band: Annotated[int | None, typer.Option(help="Hash values in a band.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="slimpajama, the_stack or fineweb: their settings for all that is not given.")
    ] = None,
    keep: Annotated[str | None, typer.Option(help="What stays of a cluster: first (default) or longest.")] = None,
    linkage: Annotated[
        str | None,
        typer.Option(
            help="component: one of all that are connected stays; representative: all that are not "
            "similar to one that stays. Default: component."
        ),
    ] = None,
    verify: Annotated[
        bool | None, typer.Option("--verify/--no-verify", help="Compare every candidate exactly (default).")
    ] = None,
    text_field: Annotated[
        str, typer.Option(help="Column of the text. A null, and a text without a word, is kept.")
    ] = "text",
    id_field: Annotated[
        str | None,
        typer.Option(
            help="Column of the ids; default: file name and row number, from 0: a.parquet:17. Where two files have one "
            "name, all have the path below their common parent: x/a.parquet:17. Of JSON Lines with text and numbers "
            "as ids, the column becomes text."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the permutations.")] = 42,
    on_error: Annotated[
        str, typer.Option(help="What cannot be read: stop, or skip it and list it in skipped.jsonl.")
    ] = "stop",
    address: Address = None,
    as_json: Json = False,
) -> None:
    from ray_jobs import dedup as job

    minhash = {
        "threshold": threshold,
        "ngram": ngram,
        "unit": unit,
        "permutations": permutations,
        "bands": bands,
        "rows_per_band": rows_per_band,
        "preset": preset,
        "keep": keep,
        "linkage": linkage,
        "verify": verify,
    }
    job.dedup(files, out, minhash, text_field, id_field, seed, on_error, address, as_json)


@app.command(
    help="Hold two scored models against each other, on the same questions.\n\n"
    "A model is said as RUN or RUN:MODEL, the last one scored where none is named. Of every task that both were scored "
    "on: the difference, its 95 % interval by paired bootstrap, a p-value (McNemar's where answers are right or wrong) "
    "adjusted for all comparisons by Holm's method, and whether it is a tie. Scores that were come by in different "
    "ways (few-shot examples, template, task version, number format, batches) are not compared, unless by --force.",
    epilog="Example: raycipe compare quickstart:base quickstart        Example: raycipe compare old new --json",
)
def compare(
    first: Annotated[str, typer.Argument(help="RUN or RUN:MODEL.")],
    second: Annotated[str, typer.Argument(help="RUN or RUN:MODEL.")],
    force: Annotated[bool, typer.Option("--force", help="Compare also what was scored in different ways.")] = False,
    runs_dir: RunsDir = Path("runs"),
    as_json: Json = False,
) -> None:
    from ray_jobs import compare as job

    job.compare(first, second, runs_dir, force, as_json)


@app.command(
    "win-rate",
    help="Score models as the LLM Efficiency Challenge did, from tables of their results, and runs.\n\n"
    "FILE is CSV with the columns model, stage (open, closed), scenario, metric, higher_is_better (true, false) and "
    "value, which may be empty; or a run whose models were scored on birbal_open and birbal_closed: they are called "
    "RUN:MODEL. A scenario's win rate is the mean over its metrics, a stage's score the geometric mean over its "
    "scenarios, the final score open / 3 + closed * 2 / 3. Nothing is rounded but what is printed.\n\n"
    "The win rate on a metric, of N models of which a model beats b and k are equal to it, itself included: by the "
    "rule challenge (b + 1/k) / N, by the rule helm (b + (k - 1)/2) / (N - 1). Without a value it has 0, or 1000 where "
    "less is better.",
    epilog="Example: raycipe win-rate results.csv        Example: raycipe win-rate results.csv --rule helm --json"
    "        Example: raycipe win-rate published.csv birbal-200k --csv all.csv",
)
def win_rate(
    file: Annotated[
        list[str], typer.Argument(help="A table, as CSV, or RUN or RUN:MODEL; several are taken together.")
    ],
    rule: Annotated[Literal["challenge", "helm"], typer.Option(help="How a win rate is counted.")] = "challenge",
    csv: Annotated[Path | None, typer.Option(help="Also write all rows into this table.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Compare also what was scored in different ways.")] = False,
    runs_dir: RunsDir = Path("runs"),
    as_json: Json = False,
) -> None:
    from ray_jobs import win_rate as job

    job.win_rate(file, rule, as_json, runs_dir, csv, force)


@app.command(
    help="Find the questions of a run's evaluation that its training has seen, and score it without them.\n\n"
    "Needs a run with scores. A word of a question, or of any other text of its item, is seen if a document that a "
    "phase was trained on has it in the same sequence of 8 words. An item is dirty if 80 % of a text or more is seen, "
    "and clean with less than 20 % (as for Llama 2); one without a text of 8 words is too short to be told.\n\n"
    "RUN/contamination/contamination.json has what --json prints, items.jsonl every item of which anything was seen, "
    "with a document that has it.",
    epilog="Example: raycipe contamination quickstart        "
    "Example: raycipe contamination quickstart --min-k 20 --neighbours models/llama-7b --json",
)
def contamination(
    recipe: RecipeName,
    overrides: Overrides = None,
    scale: Scale = None,
    min_k: Annotated[
        float | None,
        typer.Option(
            help="Also Min-K% Prob: the mean log-probability of so many percent of a question's and answer's tokens, "
            "the least likely ones; 20 in the paper. AUC: how well it tells dirty ones from clean ones."
        ),
    ] = None,
    neighbours: Annotated[
        str | None,
        typer.Option(
            metavar="REFERENCE_MODEL",
            help="Also the neighbour test: the share of 100 questions of each task that the model knows better than "
            "nine tenths of what this model (a name, or a directory) makes of their beginnings; above .85 is flagged.",
        ),
    ] = None,
    runs_dir: RunsDir = Path("runs"),
    run_name: RunName = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    from ray_jobs import contamination as job

    asked = job.Asked(min_k, neighbours)
    job.contamination(recipe, overrides, scale, runs_dir, run_name, asked, address, as_json)


@app.command(
    help="Tell how open releases of models are, by the Model Openness Framework (https://arxiv.org/abs/2403.13784).\n\n"
    "FILE is YAML as the framework's tool writes it: the components that are released, with their licences. Printed "
    "are the class, III (Open Model), II (Open Tooling), I (Open Science) or none, how many percent of each class are "
    "there, and what is missing or under a licence that does not count. Open licences count, whatever the component: "
    "those that the OSI or the FSF approves, and open data and content licences.\n\n"
    "A class is measured by the components that it asks for, its own and those of the classes below, if the class "
    "below is reached; else by 11 (II) or 15 (I), with optional ones, as in the names of the tool's test files.\n\n"
    'With --json, one FILE gives one object: {"file", "class": "III", "II", "I" or "none", "percent": {"1", "2", "3"}, '
    'in whole numbers, "missing": {"1", "2", "3"}, each a component and why for all that the class still asks for}; '
    "several give a list of them, in the order given.",
    epilog="Example: raycipe openness models/OLMo-7B.yml        Example: raycipe openness models/*.yml --json",
)
def openness(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Descriptions of releases, as YAML.")],
    as_json: Json = False,
) -> None:
    from ray_jobs import openness as job

    job.openness(files, as_json)


@app.command(
    help="Make one table and one page of a leaderboard's dated snapshots, lm-eval's result files and runs' scores.\n\n"
    "FILE is a snapshot of the Open LLM Leaderboard with its date in its name or its directory's (20230523.csv, "
    "2023-05-23.json; .gz too), lm-eval's results_*.json, or a run's evaluate/scores.json. CSV has a heading: Model, "
    "Average, 'ARC (25-shot)' and the like, and Parameters and URL where known; JSON has rows of model, its revision "
    "where given, average, ARC, HellaSwag, MMLU, TruthfulQA. What is wrong is named by file and line, and then nothing "
    "is written.\n\n"
    "DIR/leaderboard.parquet: date, model, benchmark, shots, score (percent), parameters (how many; null: not known), "
    "parameters_from (name: read from the model's name, file), url. DIR/index.html: the page, which makes no request. "
    "Each of its charts is also there as SVG and CSV. A task of lm-eval or a run has the leaderboard's name where "
    "task, shots and metric are the leaderboard's.\n\n"
    "A model that is there twice in a snapshot is refused, but not where 5 and up to a tenth of all are: then the "
    "snapshot lists each revision, and the row with the best average counts.",
    epilog="Example: raycipe leaderboard snapshots/*.csv --out board        "
    "Example: raycipe leaderboard snapshots/*.json lm-eval/*/results_*.json runs/quickstart/evaluate/scores.json "
    "--out board --json",
)
def leaderboard(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Snapshots, results and scores.")],
    out: Annotated[Path, typer.Option(help="Directory of the table, the page and its charts.")],
    as_json: Json = False,
) -> None:
    from ray_jobs import leaderboard as job

    job.leaderboard(files, out, as_json)


@app.command(
    "mt-bench",
    help="Score a model by MT-Bench: it answers questions of two turns, and a judge rates each answer from 1 to 10.\n\n"
    "MODEL is a directory (or a hub's name), or with --model-url the name of a model behind an OpenAI-compatible "
    "endpoint. The judge is behind one too. Questions, the judge's prompts and reference answers are FastChat's "
    "(fastchat/llm_judge/data), from --data. What the judge does not rate is in no mean, and is counted. Errors are "
    "clustered by question.\n\n"
    "A request that meets 429, 5xx, silence or no server is tried again, --retries times, after 0, 2, 4, 8, ... "
    "seconds, or what Retry-After says. Every answer and judgment is kept at once in OUT/answers.jsonl and "
    "OUT/judgments.jsonl: the same command asks for what is missing alone. OUT/mt_bench.json has what --json prints.",
    epilog="Example: raycipe mt-bench runs/mine/train/sft/model --data mt_bench --judge-url https://api.openai.com/v1 "
    "--judge-model gpt-4 --prompt-price 30 --completion-price 60        "
    "Example: raycipe mt-bench mine --model-url http://localhost:8000/v1 --data mt_bench "
    "--judge-url http://judge:8000/v1 --judge-model llama-70b --json",
)
def mt_bench(
    model: Annotated[str, typer.Argument(help="A model's directory, a hub's name, or its name at --model-url.")],
    data: Annotated[
        str, typer.Option(help="Directory of question.jsonl, judge_prompts.jsonl and reference_answer/gpt-4.jsonl.")
    ],
    judge_url: Annotated[str, typer.Option(help="The judge's endpoint, up to /v1.")],
    judge_model: Annotated[str, typer.Option(help="The judge's name there.")],
    judge_key_variable: Annotated[
        str | None, typer.Option(help="Environment variable of its key; default OPENAI_API_KEY. It may be unset.")
    ] = None,
    judge_max_tokens: Annotated[int | None, typer.Option(help="Longest judgment; default 2048 tokens.")] = None,
    prompt_price: Annotated[float | None, typer.Option(help="Of a million tokens that the judge reads.")] = None,
    completion_price: Annotated[float | None, typer.Option(help="Of a million tokens that it writes.")] = None,
    model_url: Annotated[str | None, typer.Option(help="The endpoint of a model that is not here.")] = None,
    model_key_variable: Annotated[str, typer.Option(help="Environment variable of its key.")] = "OPENAI_API_KEY",
    out: Annotated[
        Path | None,
        typer.Option(help="Where answers, judgments and the result are kept; default mt_bench/MODEL, with - for /."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Questions, the first ones; default: all.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Longest answer; default 1024 tokens.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Questions that a model here answers together; default 16.")
    ] = None,
    concurrency: Annotated[int | None, typer.Option(help="Requests at once; default 4.")] = None,
    retries: Annotated[int | None, typer.Option(help="Further tries of a request; default 6.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds of silence that end a try; default 300.")] = None,
    seed: Annotated[int, typer.Option(help="Of the answers.")] = 42,
    address: Address = None,
    as_json: Json = False,
) -> None:
    from ray_jobs import mt_bench as job

    settings = {
        "data": data,
        "judge_url": judge_url,
        "judge_model": judge_model,
        "judge_key_variable": judge_key_variable,
        "judge_max_tokens": judge_max_tokens,
        "prompt_price": prompt_price,
        "completion_price": completion_price,
        "limit": limit,
        "max_new_tokens": max_new_tokens,
        "batch_size": batch_size,
        "concurrency": concurrency,
        "retries": retries,
        "timeout": timeout,
    }
    job.mt_bench(model, model_url, model_key_variable, settings, out, seed, address, as_json)


@app.command(epilog="Example: raycipe runs --runs-dir /data/runs --json")
def runs(runs_dir: RunsDir = Path("runs"), as_json: Json = False) -> None:
    """List runs with their state, scores and size."""
    from ray_jobs import runs as job

    job.runs(runs_dir, as_json)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command and ends the process with the exit code that `core.errors` gives."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code: Any = app(arguments, prog_name="raycipe", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except SystemExit as ended:
        code = 0 if ended.code == 1 else ended.code  # typer's and rich's way with a pipe whose reader has seen enough
    except (KeyboardInterrupt, typer.Abort):
        code = STOPPED
    except Exception as error:
        code = _explain(error, "--json" in arguments)
    if code == STOPPED:  # typer itself turns Ctrl-C into this code
        print("stopped; the same command goes on from here", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


def job_main(verb: str) -> None:
    """`python -m ray_jobs.<verb> ...` is `raycipe <verb> ...`."""
    main([verb, *sys.argv[1:]])


def _explain(error: BaseException, as_json: bool) -> int:
    """Prints an error as its kind deserves; returns the exit code."""
    show = getattr(error, "show", None)  # a usage error of typer's
    if callable(show):
        show()
        return 2
    ours = _ours(error)
    if ours is None:
        if _was_interrupted(error):
            return STOPPED
        traceback.print_exception(error)
        print("this is a bug in raycipe; please report it with the lines above", file=sys.stderr)
        return 1
    if as_json:
        problems = getattr(ours, "problems", None)
        listed = [problem.as_json() for problem in problems] if problems is not None else None
        print(json.dumps({"error": str(ours), "problems": listed} if listed is not None else {"error": str(ours)}))
    print(f"error: {ours}", file=sys.stderr)
    return ours.exit_code


def _ours(error: BaseException) -> RaycipeError | None:
    """The RaycipeError in an error's chain: Ray wraps what a worker raised."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        if type(current).__module__.startswith("core.") and isinstance(current, RaycipeError):
            return current
        inner = [getattr(current, "cause", None), current.__cause__, current.__context__]
        inner += list(getattr(current, "worker_failures", {}).values())
        waiting += [each for each in inner if isinstance(each, BaseException)]
    return None


def _was_interrupted(error: BaseException) -> bool:
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return isinstance(error, KeyboardInterrupt)


def _stop(signal_number: int, frame: object) -> None:
    from ray_jobs.session import stopping

    stopping.set()
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
