"""A whole run, made once; and a browser, where the machine has one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.reporting.leaderboard.board import Leaderboard, build
from core.reporting.leaderboard.files import read_source
from core.reporting.options import Report
from core.reporting.run_report import write_run_report
from tests.reporting.chromium import NAMES, Chromium, find_browser
from tests.reporting.made_run import make_run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with all stages finished. Not to be changed: see `run_copy`."""
    return make_run(tmp_path_factory.mktemp("runs") / "quickstart")


@pytest.fixture(scope="session")
def page_path(finished_run: Path) -> Path:
    """The page of that run."""
    return write_run_report(finished_run, Report())


@pytest.fixture
def run_copy(finished_run: Path, tmp_path: Path) -> Path:
    """The same run, for a test to take pieces out of."""
    copy = tmp_path / "quickstart"
    shutil.copytree(finished_run, copy, ignore=shutil.ignore_patterns("report"))
    return copy


@pytest.fixture
def run_without_logs(run_copy: Path) -> Path:
    """That copy without its training logs, whose curves take most of the time that a page takes."""
    for log in run_copy.glob("train/*/log.jsonl"):
        log.unlink()
    return run_copy


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """One headless browser for all tests that look at pages."""
    path = find_browser()
    if path is None:
        pytest.skip(f"no browser on this machine: none of {', '.join(NAMES)} is on the PATH")
    running = Chromium(path, tmp_path_factory.mktemp("browser"))
    yield running
    running.close()


@pytest.fixture(scope="session")
def report_board(shared_data: Path) -> Leaderboard:
    """All snapshots of the Open LLM Leaderboard Report."""
    return build([read_source(path) for path in sorted((shared_data / "leaderboard_report").glob("*/*"))])
