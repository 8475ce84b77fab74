"""Dated snapshots of the Open LLM Leaderboard, as CSV and as JSON."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from core.errors import DataError
from core.reporting.formats import shortened
from core.reporting.leaderboard.entries import Benchmark, Entry, Source
from core.reporting.leaderboard.lines import csv_lines, json_rows
from core.reporting.leaderboard.parameters import told_parameters

# What a snapshot of 2023 has, in the order of its JSON.
BENCHMARKS = (Benchmark("ARC", 25), Benchmark("HellaSwag", 10), Benchmark("MMLU", 5), Benchmark("TruthfulQA", 0))
FIRST_YEAR = 2000
# The later snapshots list a model once for every revision and precision that was scored, without saying which: from so
# many repeated models on, up to this share of all. Fewer, or more, are a slip.
FEWEST_REPEATED, MOST_REPEATED = 5, 0.1
FLAGS = ("contamination", "contaminated", "flagged")
UNFLAGGED = ("", "0", "false", "no", "none")
_SCORE = re.compile(r"\s*([^()]+?)\s*\(\s*(\d+)[- ]shot\s*\)\s*", re.I)
_NUMBER = re.compile(r"\s*[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?\s*")
_FLAGGED = re.compile(r"\s+has been flagged!\s*(.*)", re.I | re.S)  # how the leaderboard itself marks a model
_DATE = re.compile(r"(?<!\d)(\d{4})([-._]?)(\d{2})\2(\d{2})(?!\d)")


@dataclass(frozen=True)
class _Row:
    place: str
    model: str
    average: Decimal | None
    scores: Mapping[Benchmark, Decimal]
    parameters: float | None = None
    url: str | None = None
    flags: tuple[str, ...] = ()


def snapshot_date(path: Path) -> datetime.date:
    """The date in a file's name, or else in its directory's: 20230523.csv, 2023-05-23.json.gz.

    Raises DataError where there is none, no such day, or one that cannot be.
    """
    for name in (path.name, path.parent.name):
        if found := _DATE.search(name):
            try:
                date = datetime.date(int(found[1]), int(found[3]), int(found[4]))
            except ValueError as error:
                raise DataError(f"{path}:1: the date {found[0]} in its name does not exist ({error})") from error
            today = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=1)
            if date.year < FIRST_YEAR or date > today:
                raise DataError(f"{path}:1: the date {date} in its name cannot be that of a snapshot")
            return date
    raise DataError(f"{path}:1: no date in its name; expected one as in 20230523.csv")


def read_csv(path: Path, text: str) -> Source:
    """A snapshot with a heading: Model, Average, a column `NAME (N-shot)` for each benchmark, Parameters, URL.

    Raises DataError with the line for what is missing, twice there or no number.
    """
    date = snapshot_date(path)
    lines = csv_lines(path, text)
    first = next(lines, None)
    if first is None:
        raise DataError(f"{path}:1: the file is empty; expected a heading and rows")
    heading = [title.strip() for title in first[1]]
    if twice := [title for title, times in Counter(heading).items() if times > 1 and title]:
        raise DataError(f"{path}:{first[0]}: the column '{twice[0]}' is there twice")
    columns = {title.lower(): number for number, title in enumerate(heading)}
    benchmarks = {
        Benchmark(found[1], int(found[2])): number
        for number, title in enumerate(heading)
        if (found := _SCORE.fullmatch(title))
    }
    missing = [title for title in ("Model", "Average") if title.lower() not in columns]
    missing += [benchmark.title for benchmark in BENCHMARKS if benchmark not in benchmarks]
    if missing:
        raise DataError(f"{path}:{first[0]}: no column {', '.join(missing)}; found {', '.join(heading) or 'nothing'}")
    rows = []
    for line, cells in lines:
        place = f"{path}:{line}"
        if len(cells) != len(heading):
            raise DataError(f"{place}: {len(cells)} values; the heading has {len(heading)} columns")

        def cell(title: str, row: Sequence[str] = cells) -> str:
            return row[columns[title]].strip() if title in columns else ""

        scores = {
            benchmark: score
            for benchmark, number in benchmarks.items()
            if (score := _percent(place, heading[number], cells[number])) is not None
        }
        size = _number(place, "Parameters", cell("parameters"))
        flagged = [f"{title}: {cell(title)}" for title in FLAGS if cell(title).lower() not in UNFLAGGED]
        average = _percent(place, "Average", cell("average"))
        model, flags = _model(place, cell("model"))
        url = _FLAGGED.sub("", cell("url")) or None
        rows.append(_Row(place, model, average, scores, float(size) if size else None, url, (*flags, *flagged)))
    return _source(path, date, rows)


def read_json(path: Path, text: str) -> Source:
    """A snapshot without a heading: rows of model, its revision in the earlier ones, average, and `BENCHMARKS`' scores.

    Raises DataError with the line and row for what is missing, twice there or no number.
    """
    date = snapshot_date(path)
    found = list(json_rows(path, text))
    lists = [values for _, values in found if isinstance(values, list)]
    revised = 2 * sum(len(values) > 1 and not _is_number(values[1]) for values in lists) > len(lists)
    rows, complete = [], False
    for number, (line, values) in enumerate(found, 1):
        place = f"{path}:{line}: row {number}"
        if not isinstance(values, list) or not values:
            raise DataError(f"{place}: found {shortened(str(values), 60)}; expected a list: model, average, scores")
        model, flags = _model(place, values[0])
        average, *scores = values[2 if revised else 1 :] or [None]
        # One row of the report's own snapshots ends before its last score.
        if not len(BENCHMARKS) - 1 <= len(scores) <= len(BENCHMARKS):
            wanted = f"an average and {len(BENCHMARKS)} scores ({', '.join(each.name for each in BENCHMARKS)})"
            raise DataError(f"{place} ({model}): {len(values)} values; expected a model, {wanted}")
        complete |= len(scores) == len(BENCHMARKS)
        told = {
            benchmark: score
            for benchmark, value in zip(BENCHMARKS, scores, strict=False)
            if (score := _json_percent(place, benchmark.title, value)) is not None
        }
        rows.append(_Row(place, model, _json_percent(place, "Average", average), told, flags=flags))
    if rows and not complete:
        raise DataError(f"{rows[0].place}: no row has a score in {BENCHMARKS[-1].title}")
    return _source(path, date, rows)


def _source(path: Path, date: datetime.date, rows: Sequence[_Row]) -> Source:
    if not rows:
        raise DataError(f"{path}:1: no rows; expected one for each model")
    scores = [score for row in rows for score in row.scores.values()]
    unit = _unit(scores)
    average_unit = _unit([row.average for row in rows if row.average is not None])
    sizes = told_parameters([row.model for row in rows], [row.parameters for row in rows])
    entries = [
        Entry(
            date,
            row.model,
            row.scores,
            row.place,
            given_average=row.average,
            score_unit=unit,
            average_unit=average_unit,
            parameters=size,
            url=row.url,
            flags=row.flags,
        )
        for row, size in zip(rows, sizes, strict=True)
    ]
    return _without_repeated(Source("snapshot", path, entries))


def _without_repeated(source: Source) -> Source:
    """One entry per model: of several submissions the one with the best average, as given."""
    of: dict[str, list[Entry]] = {}
    for entry in source.entries:
        of.setdefault(entry.model, []).append(entry)
    several = [entries for entries in of.values() if len(entries) > 1]
    if several and not FEWEST_REPEATED <= len(several) <= MOST_REPEATED * len(of):
        first, second = several[0][:2]
        raise DataError(f"{second.place}: {second.model} is there twice, first in {first.place}; expected one row each")
    best = {model: max(entries, key=lambda entry: entry.given_average or Decimal(-1)) for model, entries in of.items()}
    repeated = [(entry, best[entry.model]) for entry in source.entries if entry is not best[entry.model]]
    return replace(source, entries=[entry for entry in source.entries if entry is best[entry.model]], repeated=repeated)


def _model(place: str, value: Any) -> tuple[str, tuple[str, ...]]:
    """The model's name, and what the leaderboard has written behind it where it has flagged the model."""
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{place}: Model: found '{shortened(str(value), 60)}'; expected a name")
    found = _FLAGGED.search(value)
    if found is None or not found.start():
        return value.strip(), ()
    return value[: found.start()].strip(), (f"flagged: {found[1].strip()}" if found[1].strip() else "flagged",)


def _percent(place: str, column: str, text: str) -> Decimal | None:
    """A score; None for an empty cell. Raises DataError for anything but a number from 0 to 100."""
    number = _number(place, column, text)
    if number is not None and not 0 <= number <= 100:
        raise DataError(f"{place}: {column}: found {number}; expected a number from 0 to 100")
    return number


def _json_percent(place: str, column: str, value: Any) -> Decimal | None:
    if value is not None and not _is_number(value):
        raise DataError(f"{place}: {column}: found '{shortened(str(value), 60)}'; expected a number")
    return None if value is None else _percent(place, column, str(value))


def _number(place: str, column: str, text: str) -> Decimal | None:
    if not text.strip():
        return None
    if not _NUMBER.fullmatch(text):
        raise DataError(f"{place}: {column}: found '{shortened(text, 60)}'; expected a number")
    return Decimal(text.strip())


def _is_number(value: Any) -> bool:
    return isinstance(value, Decimal)


def _unit(numbers: Sequence[Decimal]) -> Decimal:
    """What numbers are rounded to, by the one with most decimals."""
    return Decimal(1).scaleb(min((_exponent(number) for number in numbers), default=0))


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return min(0, exponent) if isinstance(exponent, int) else 0
