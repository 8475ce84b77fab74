"""The page of a run: what was curated, trained and scored, and where every number comes from."""

from __future__ import annotations

from pathlib import Path

from core.artifacts.atomic import write_bytes
from core.reporting.curation_section import curation_section
from core.reporting.formats import count, decimal, duration, moment, percent, short_count, signed, with_error
from core.reporting.frame import Card, Mark, Page, render
from core.reporting.options import Report
from core.reporting.provenance_section import provenance_section, recipe_section
from core.reporting.run_files import Run, read_run
from core.reporting.score_differences import NOISE, compared, differences, headline
from core.reporting.score_section import score_section
from core.reporting.sweep_section import sweep_sections
from core.reporting.training_sections import token_section, training_sections


def write_run_report(run_dir: Path, options: Report) -> Path:
    """Writes `report/index.html`, and each chart as `report/charts/*.svg` and `*.csv`, and returns the page's path.

    A stage that has not run is said not to have. Raises DataError naming a file of the run that is broken, and
    ResourceError where the page cannot be written. The same run gives the same bytes.
    """
    page = run_page(read_run(run_dir), options)
    report = run_dir / "report"
    for chart in page.charts:
        write_bytes(report / "charts" / f"{chart.name}.svg", chart.svg.encode())
        write_bytes(report / "charts" / f"{chart.name}.csv", chart.csv())
    written = {chart.name for chart in page.charts}
    for earlier in (report / "charts").glob("*.*"):
        if earlier.stem not in written:
            earlier.unlink()
    write_bytes(report / "index.html", render(page))
    return report / "index.html"


def run_page(run: Run, options: Report) -> Page:
    """All that the page says."""
    return Page(
        title=options.title or run.name,
        kind="run report",
        lead=_story(run),
        cards=_cards(run),
        marks=[
            Mark(stage, run.states[stage], duration(manifest.seconds) if manifest else "")
            for stage, manifest in run.manifests.items()
        ],
        sections=[
            curation_section(run, options),
            token_section(run),
            *training_sections(run),
            *sweep_sections(run),
            score_section(run, options),
            recipe_section(run),
            provenance_section(run),
        ],
        footer=_footer(run),
    )


def _story(run: Run) -> str:
    """The run in a sentence or two, as far as it has come."""
    said = [str(run.settings["description"]).strip()] if run.settings.get("description") else []
    found = differences(run.scores) if run.scores else []
    if overall := headline(found):
        name, first, last, error = overall
        change = with_error(signed(last - first), error)
        said.append(f"Training took {name} from {decimal(first)} to {decimal(last)} ({change}).")
    if len(found) > 1:
        verdicts = [each.verdict for each in found]
        told = [(verdicts.count(word), word) for word in ("better", "worse", "within noise", "no error known")]
        parts = [f"{number} {word}" for number, word in told if number]
        said.append(f"{len(found)} scores in all: {', '.join(parts)}.")
    if not run.scores:
        unfinished = [stage for stage, state in run.states.items() if state != "done"]
        said.append(f"Not finished yet: {', '.join(unfinished)}." if unfinished else "Nothing was scored.")
    return " ".join(said)


def _cards(run: Run) -> list[Card]:
    return [*_score_card(run), *_model_card(run), *_document_card(run), *_token_card(run), *_time_card(run)]


def _score_card(run: Run) -> list[Card]:
    overall = headline(differences(run.scores)) if run.scores else None
    if not overall or not run.scores:
        return [Card("Base → trained", "not scored", wide=True)]
    name, first, last, error = overall
    noise = error is not None and abs(last - first) < NOISE * error
    judged = ", no error known" if error is None else ", within noise" if noise else ""
    tone = "" if noise or error is None else "good" if last > first else "bad"
    note = f"{name}: {with_error(signed(last - first), error)}{judged}"
    before, after = compared(run.scores)
    return [Card(f"{before} → {after}", decimal(last), note, tone, decimal(first), True)]


def _model_card(run: Run) -> list[Card]:
    trained = [(phase.name, phase.summary) for phase in run.phases if phase.summary]
    if not trained:
        return [Card("Model", "not trained")]
    methods = " → ".join(f"{name} ({summary.method})" for name, summary in trained)
    return [Card("Parameters", short_count(trained[-1][1].parameters), methods)]


def _document_card(run: Run) -> list[Card]:
    if not run.ledger:
        return [Card("Documents kept", "not curated")]
    read = sum(source.read.documents for source in run.ledger.sources.values())
    kept = sum(source.kept.documents for source in run.ledger.sources.values())
    share = f", {percent(kept / read)}" if read else ""
    return [Card("Documents kept", count(kept), f"of {count(read)} read{share}")]


def _token_card(run: Run) -> list[Card]:
    trained = [phase.summary for phase in run.phases if phase.summary]
    if not trained:
        return [Card("Tokens trained on", "none yet")]
    targets = sum(summary.target_tokens for summary in trained)
    return [Card("Tokens trained on", short_count(sum(s.tokens for s in trained)), f"{short_count(targets)} with loss")]


def _time_card(run: Run) -> list[Card]:
    done = [manifest for manifest in run.manifests.values() if manifest]
    if not done:
        return [Card("Time", "–", "no stage is finished")]
    stages = f"{len(done)} of {len(run.manifests)} stages"
    return [Card("Time", duration(sum(manifest.seconds for manifest in done)), stages)]


def _footer(run: Run) -> str:
    ends = [manifest.finished for manifest in run.manifests.values() if manifest]
    finished = f" Last stage finished {moment(max(ends))}." if ends else ""
    return f"Raycipe run {run.directory.name}.{finished} This page is one file and makes no request."
