"""Why most of the data left, in plain sentences, and warnings where one step took more than half of what it saw."""

from __future__ import annotations

from core.reporting.curation_charts import IN_WORDS, SHOW
from core.reporting.curation_files import MIXTURE, Cut, Ledger, LedgerStep
from core.reporting.formats import count, percent
from core.reporting.frame import Text

TOLD_STEPS = 3  # those that took most, each in a sentence of its own
TOLD_REASONS = 4
MOST_WARNINGS = 5  # of single sources
ALARMING = 0.5  # share of what came to a step


def why_data_left(ledger: Ledger) -> list[Text]:
    """What was read and kept, what took most of it, and what must not be overlooked."""
    read, kept = (ledger.total(when, "documents") for when in ("read", "kept"))
    if not read:
        return []
    of_size = "bytes" if ledger.total("read", "bytes") else "documents"
    whole, left = ledger.total("read", of_size), ledger.total("kept", of_size)
    said = [
        f"{count(read)} documents ({SHOW['bytes'](ledger.total('read', 'bytes'))}) were read, {count(kept)} "
        f"({SHOW['bytes'](ledger.total('kept', 'bytes'))}, {percent(left / whole)} of the {of_size}) are kept."
    ]
    taken = {step: _taken(ledger, step, of_size) for step in ledger.steps}
    by_amount = sorted((step for step in taken if taken[step] > 0), key=lambda step: -taken[step])
    for step in by_amount[:TOLD_STEPS]:
        reasons = _reasons(ledger.dropped(step), ledger.cut(step))
        said.append(f"{step} took {percent(taken[step] / whole)} of the {of_size}: {reasons}.")
    if rest := by_amount[TOLD_STEPS:]:
        share = percent(sum(taken[step] for step in rest) / whole)
        others = "1 other step" if len(rest) == 1 else f"{len(rest)} other steps"
        said.append(f"{others} took {share}.")
    if not by_amount:
        said.append("No step took anything.")
    return [*map(Text, said), *_warnings(ledger)]


def alarming(step: LedgerStep) -> str | None:
    """The measure of which a step took more than half; None where it did not, or the recipe gave the amount."""
    if step.step == MIXTURE:
        return None
    for measure in ("bytes", "documents"):
        came = step.before(measure)
        if came and (came - step.after(measure)) / came > ALARMING:
            return measure
    return None


def _warnings(ledger: Ledger) -> list[Text]:
    warnings, of_sources = [], []
    for step in ledger.steps:
        accounts = [account for _, account in ledger.of_step(step)]
        if not accounts:
            continue
        if measure := alarming(_together(step, accounts)):
            came, went = sum(a.before(measure) for a in accounts), _taken(ledger, step, measure)
            reasons = _reasons(ledger.dropped(step), ledger.cut(step))
            warnings.append(Text(_warning(step, "", measure, came, went, reasons), "bad"))
            continue
        for source, account in ledger.of_step(step):
            if measure := alarming(account):
                came = account.before(measure)
                went, reasons = came - account.after(measure), _reasons(account.dropped, account.cut)
                what = _warning(step, source, measure, came, went, reasons)
                of_sources.append((-account.before("bytes"), what))
    of_sources.sort(key=lambda warning: warning[0])
    warnings += [Text(what, "bad") for _, what in of_sources[:MOST_WARNINGS]]
    if more := len(of_sources[MOST_WARNINGS:]):
        where = "they are marked in the table “Each step, source by source”"
        warnings.append(Text(f"The same holds for {count(more)} more pairs of step and source: {where}.", "bad"))
    return warnings


def _warning(step: str, source: str, measure: str, came: int, went: int, reasons: str) -> str:
    show = SHOW[measure] if measure == "bytes" else IN_WORDS[measure]
    of = f"{source}'s {measure}" if source else f"the {measure}"
    return (
        f"{step} took more than half of {of} that came to it: {show(went)} of {show(came)} ({percent(went / came)}). "
        f"Why: {reasons}. If that is not what the step is for here, look at its examples below."
    )


def _together(step: str, accounts: list[LedgerStep]) -> LedgerStep:
    sums = {
        f"{measure}_{when}": sum(getattr(account, f"{measure}_{when}") for account in accounts)
        for measure in ("documents", "bytes")
        for when in ("in", "kept")
    }
    return LedgerStep(step=step, dropped={}, **sums)


def _taken(ledger: Ledger, step: str, measure: str) -> int:
    return sum(account.before(measure) - account.after(measure) for _, account in ledger.of_step(step))


def _reasons(dropped: dict[str, int], cut: dict[str, Cut]) -> str:
    """'too_short 100, too_long 3 documents; repeated_span 1.2 MB cut in 50 passages out of 20 documents'"""
    by_amount = sorted((item for item in dropped.items() if item[1]), key=lambda item: -item[1])
    told = [f"{reason} {count(n)}" for reason, n in by_amount[:TOLD_REASONS]]
    if rest := by_amount[TOLD_REASONS:]:
        told.append(f"{len(rest)} other reasons {count(sum(n for _, n in rest))}")
    said = [", ".join(told) + " documents"] if told else []
    for reason, parts in sorted(cut.items(), key=lambda item: -item[1].bytes)[:TOLD_REASONS]:
        passages = f"{SHOW['bytes'](parts.bytes)} cut in {count(parts.spans)} passages"
        said.append(f"{reason} {passages} out of {count(parts.documents)} documents")
    return "; ".join(said) or "no reason is known"
