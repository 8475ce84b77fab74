"""What a person sees while it works: bars on a terminal, plain lines elsewhere. Always on stderr."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_EVERY = 5.0  # seconds between plain lines


def table_console() -> Console:
    """Where tables are printed, on stdout: names stay as they are, and away from a terminal lines are wide."""
    return Console(width=None if Console().is_terminal else 200, markup=False, emoji=False, highlight=False)


class Bar:
    """One piece of work under way."""

    def __init__(self, progress: Progress | None, console: Console, title: str, total: int) -> None:
        self._progress = progress
        self._console = console
        self._title = title
        self._total = total
        self._done = 0
        self._printed = time.monotonic()
        self._task: TaskID | None = progress.add_task(title, total=total, note="") if progress else None

    def at(self, done: int, note: str = "") -> None:
        """Sets how much is done, with a few words beside it."""
        self._done = done
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, note=note)
        elif time.monotonic() - self._printed >= LINE_EVERY:
            self._printed = time.monotonic()
            line = f"{self._title}: {done}/{self._total} {note}".rstrip()
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def advance(self, note: str = "") -> None:
        """One more is done."""
        self.at(self._done + 1, note)


class Reporter:
    """Says what is done, on stderr."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)

    def say(self, line: str) -> None:
        """One plain line."""
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def bar(self, title: str, total: int) -> Iterator[Bar]:
        """A progress bar for `total` pieces of work."""
        if not self.console.is_terminal:
            yield Bar(None, self.console, title, total)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self.console) as progress:
            yield Bar(progress, self.console, title, total)
