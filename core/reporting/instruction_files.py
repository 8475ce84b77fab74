"""What curation leaves of Natural Instructions: the tasks that were selected, and what was drawn of them by score."""

from __future__ import annotations

from core.reporting.written_files import Written


class Agreement(Written):
    """How the rules agree with a list of tasks that others published."""

    published: str
    precision: float
    recall: float
    both: int
    only_rules: list[str]
    only_list: list[str]


class SelectedTasks(Written):
    """curate/natural_instructions/<source>.json"""

    tasks: int
    selected: list[str]
    without_file: list[str]
    left_out_by: dict[str, int]
    agreement: Agreement | None = None


class BucketCounts(Written):
    scoring: str
    low: float
    high: float
    tasks: int
    instances: int
    pool: int
    chosen: int


class TaskCounts(Written):
    task: str
    scoring: str
    instances: int
    scored: int
    score: float | None = None
    quota: int
    pool: int
    chosen: int


class Sampling(Written):
    """curate/sampling/<step>.json. pool: what tasks gave by their buckets; chosen: what of it was drawn."""

    step: str
    instances: int
    chosen: int
    left_out: dict[str, int]
    shortfalls: list[str]
    buckets: list[BucketCounts]
    tasks: list[TaskCounts]
