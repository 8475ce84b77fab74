"""What a run's page says of scores: every one with its error, and what training changed."""

from __future__ import annotations

from typing import Any

from core.evaluation.comparison import told_refusals
from core.reporting.examples import Answer, Question, questions
from core.reporting.formats import count, cut, decimal, signed
from core.reporting.frame import Block, Cell, Column, Part, Quote, Quotes, Section, Table, Text
from core.reporting.options import Report
from core.reporting.run_files import Run, Score, Scores, SeenScore, SuiteScore
from core.reporting.score_charts import MOST_ROWS, measure, score_bars
from core.reporting.score_differences import NOISE, compared, differences, in_unit

MOST_QUOTED_TASKS = 20
TONES = {"better": "good", "worse": "bad", "within noise": "quiet", "no error known": "quiet"}


def score_section(run: Run, options: Report) -> Section:
    """Bars, the table of all scores, and questions with the models' answers."""
    if run.scores is None:
        return Section("Scores", [Text("No model has been scored.")], run.remark("evaluate"))
    drawn = [score for score in run.scores.scores if in_unit(score)]
    blocks: list[Block] = [score_bars(run.scores.models, drawn)] if drawn else []
    blocks.append(_table(run.scores, run.seen.scores if run.seen else [], {measure(score) for score in drawn}))
    if run.scores.suites:
        blocks.append(_suites(run.scores))
    asked = questions(run.directory / "evaluate" / "samples", run.scores.models, options.questions_per_task)
    if asked:
        beyond = len(asked) - MOST_QUOTED_TASKS
        more = f" The answers to {count(beyond)} more tasks are in evaluate/samples." if beyond > 0 else ""
        blocks.append(Text(f"Questions with the models' answers, evenly spread over each task.{more}"))
    for task, found in list(asked.items())[:MOST_QUOTED_TASKS]:
        quotes = [_quote(question, options.longest_example) for question in found]
        blocks.append(Quotes(task, f"{len(quotes)} question{'s' if len(quotes) != 1 else ''}", quotes))
    return Section("Scores", blocks, run.remark("evaluate"))


def _table(scores: Scores, seen: list[SeenScore], drawn: set[str]) -> Table:
    unseen = {(score.model, score.task, score.metric, score.filter): score.clean.value for score in seen}
    found = {(measure(score), score.model): score for score in scores.scores}
    changes = {each.name: each for each in differences(scores)}
    columns = [Column("task, metric"), Column("questions", count)]
    for model in scores.models:
        columns += [Column(model, decimal), Column("±", decimal, "standard error")]
        if seen:
            columns.append(Column("clean", decimal, f"{model} on the questions that training has not seen"))
    if len(scores.models) > 1:
        first, last = compared(scores)
        columns.append(Column("difference", signed, f"{last} less {first}"))
        columns += [Column("±", decimal, "standard error of the difference")]
        columns += [Column("from", signed, "of the 95 % interval"), Column("to", signed), Column("verdict")]
    rows = []
    for name in dict.fromkeys(measure(score) for score in scores.scores):
        of = [found.get((name, model)) for model in scores.models]
        row: list[Any] = [name, next((score.samples for score in of if score), None)]
        for score in of:
            row += [_value(score), Cell(score.stderr, "quiet")] if score else [None, None]
            if seen:
                row.append(unseen.get((score.model, score.task, score.metric, score.filter)) if score else None)
        if change := changes.get(name):
            tone = TONES[change.verdict]
            row += [Cell(change.value, tone), Cell(change.error, "quiet")]
            row += [Cell(change.low, "quiet"), Cell(change.high, "quiet"), Cell(change.verdict, tone)]
        row += [None] * (len(columns) - len(row))
        rows.append(row)
    return Table("Scores with their standard errors", columns, rows, _note(scores, seen, drawn))


def _suites(scores: Scores) -> Table:
    found = {(score.suite, score.line, score.metric, score.model): score for score in scores.suites}
    columns = [Column("suite"), Column("line"), Column("metric")]
    for model in scores.models:
        columns += [Column(model, decimal), Column("±", decimal, "standard error")]
    rows = []
    for key in dict.fromkeys((score.suite, score.line, score.metric) for score in scores.suites):
        suite, line, metric = key
        row: list[Any] = [suite, line or "mean", metric if line else ""]
        for model in scores.models:
            score = found.get((*key, model))
            row += [_value(score), Cell(score.stderr, "quiet")] if score else [None, None]
        rows.append(row)
    return Table("Suites", columns, rows, "A line of several tasks is their plain mean, as is the mean of the lines.")


def _value(score: Score | SuiteScore) -> Any:
    return Cell(score.value, text=f"{decimal(score.value)} †") if score.trained_on else score.value


def _note(scores: Scores, seen: list[SeenScore], drawn: set[str]) -> str:
    said = []
    if len(scores.models) > 1:
        first, last = compared(scores)
        said.append(
            f"Difference: {last} less {first}, with its interval by paired bootstrap over the same questions. Within "
            "noise, a tie: its p-value (McNemar's test of right and wrong answers, else by the error) is .05 or more, "
            "adjusted by Holm's method for all differences here. Where it is not known, the interval holds 0, or the "
            f"difference is smaller than {NOISE:g} standard errors, which are the two errors' root sum of squares."
        )
    if any(score.trained_on for score in scores.scores):
        said.append("† trained on the task's own training data: no measure of what else the model can do.")
    if seen:
        dirty = {score.task: f"{count(score.dirty.items)} in {score.task}" for score in seen if score.dirty.items}
        said.append(
            "Clean: on the questions of which less than a fifth is in the documents that were trained on, word for "
            f"word. Dirty, four fifths or more: {', '.join(dirty.values()) or 'none'}."
        )
    if scores.comparison and scores.comparison.refused:
        said.append(f"Not compared, being scored in different ways: {told_refusals(scores.comparison.refused)}.")
    cut_off = {score.task: f"{count(score.truncated)} in {score.task}" for score in scores.scores if score.truncated}
    if cut_off:
        said.append(f"Requests longer than the model, cut from the left: {', '.join(cut_off.values())}.")
    lower = sorted({measure(score) for score in scores.scores if score.higher_is_better is False})
    if lower:
        said.append(f"Lower is better for {', '.join(lower)}.")
    hidden = {measure(score) for score in scores.scores} - drawn
    if hidden:
        said.append(f"Not in the chart, being no number between 0 and 1: {', '.join(sorted(hidden))}.")
    if len(drawn) > MOST_ROWS:
        said.append(f"The chart shows the first {MOST_ROWS} of {len(drawn)}.")
    return " ".join(said)


def _quote(question: Question, longest: int) -> Quote:
    parts = [Part("question", cut(question.prompt, longest, keep_end=True))] if question.prompt else []
    if question.choices:
        parts.append(Part("choices", cut("\n".join(question.choices), longest)))
    parts.append(Part("expected", cut(question.expected, longest)))
    for model, answer in question.answers.items():
        parts += _answer(model, answer, question.metric, longest)
    return Quote([("number", question.id)], parts)


def _answer(model: str, answer: Answer, metric: str, longest: int) -> list[Part]:
    scored = "" if answer.score is None else f", {metric} {answer.score:g}"
    tone = {1.0: "good", 0.0: "bad"}.get(answer.score, "") if answer.score is not None else ""
    parts = [Part(f"{model}{scored}", cut(answer.text, longest) or "(nothing)", tone)]
    if answer.taken_as is not None:
        parts.append(Part(f"{model}, taken as", cut(answer.taken_as, longest) or "(nothing)"))
    return parts
