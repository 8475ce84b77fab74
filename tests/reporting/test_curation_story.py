from __future__ import annotations

from typing import Any

from core.reporting.curation_files import Ledger
from core.reporting.curation_story import MOST_WARNINGS, why_data_left
from tests.reporting.made_curation import ledger_of


def told(account: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Sentences and warnings."""
    texts = why_data_left(Ledger.model_validate(account))
    plain = [(each.text.replace("\u00a0", " "), each.tone) for each in texts]
    return [text for text, tone in plain if not tone], [text for text, tone in plain if tone == "bad"]


def test_the_steps_that_took_most_are_named_with_their_reasons() -> None:
    steps = {"length": {"too_short": 0.1}, "minhash_dedup": {"near_duplicate": 0.4, "other": 0.01}, "code": {}}
    said, warnings = told(ledger_of(1, steps))
    assert said == [
        "1,000 documents (900 kB) were read, 531 (478 kB, 53.1 % of the bytes) are kept.",
        "minhash_dedup took 36.9 % of the bytes: near_duplicate 360, other 9 documents.",
        "length took 10.0 % of the bytes: too_short 100 documents.",
    ]
    assert warnings == []


def test_many_small_steps_are_told_together() -> None:
    said, _ = told(ledger_of(1, {f"step{n}": {"bad": 0.1 / (1 + n)} for n in range(6)}))
    assert said[-1].startswith("3 other steps took ")


def test_a_filter_that_took_most_of_the_data_is_warned_of_with_both_numbers() -> None:
    said, (warning,) = told(ledger_of(2, {"c4": {"no_punctuation": 0.9}}))
    assert said[1].startswith("c4 took 90.0 % of the bytes")
    assert warning.startswith("c4 took more than half of the bytes that came to it: 2.43 MB of 2.7 MB (90.0 %).")
    assert "no_punctuation 2,700 documents" in warning


def test_a_source_that_lost_most_is_warned_of_where_the_whole_did_not() -> None:
    account = ledger_of(3, {"length": {"too_short": 0.05}})
    only = ledger_of(1, {"length": {"too_short": 0.8}})["sources"]["source-00"]
    account["sources"]["source-00"] = only
    _, (warning,) = told(account)
    assert warning.startswith("length took more than half of source-00's bytes")


def test_many_sources_that_lost_most_are_counted_not_listed() -> None:
    account = ledger_of(21, {"length": {"too_short": 0.1}}, 1000)
    lost = ledger_of(21, {"length": {"too_short": 0.9}}, 10)
    for number in range(15):
        account["sources"][f"source-{number:02d}"] = lost["sources"][f"source-{number:02d}"]
    _, warnings = told(account)
    assert len(warnings) == MOST_WARNINGS + 1
    assert "10 more pairs of step and source" in warnings[-1]


def test_what_the_mixture_left_out_was_asked_for() -> None:
    said, warnings = told(ledger_of(1, {"mixture": {"not_drawn": 0.9}}))
    assert said[1] == "mixture took 90.0 % of the bytes: not_drawn 900 documents."
    assert warnings == []


def test_cuts_count_as_taken_though_no_document_left() -> None:
    account = ledger_of(1, {"exact_substring": {}})
    source = account["sources"]["source-00"]
    source["steps"][0] |= {
        "bytes_kept": 300_000,
        "cut": {"repeated": {"documents": 90, "spans": 120, "bytes": 600_000}},
    }
    source["kept"]["bytes"] = 300_000
    said, (warning,) = told(account)
    assert said[1] == (
        "exact_substring took 66.7 % of the bytes: repeated 600 kB cut in 120 passages out of 90 documents."
    )
    assert "600 kB of 900 kB" in warning


def test_nothing_dropped_is_said_and_nothing_read_says_nothing() -> None:
    assert told(ledger_of(1, {"length": {}}))[0][-1] == "No step took anything."
    assert told(ledger_of(2, {"length": {"too_short": 0.5}}, documents=0)) == ([], [])


def test_documents_without_text_are_counted_instead_of_bytes() -> None:
    account = ledger_of(1, {"length": {"empty": 0.75}})
    source = account["sources"]["source-00"]
    source["read"]["bytes"] = source["kept"]["bytes"] = 0
    source["steps"][0] |= {"bytes_in": 0, "bytes_kept": 0}
    said, (warning,) = told(account)
    assert said[1] == "length took 75.0 % of the documents: empty 750 documents."
    assert "750 documents of 1,000 documents" in warning
