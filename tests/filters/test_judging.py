from __future__ import annotations

import pyarrow as pa

from core.documents.ledger import SPANS, Verdict
from core.filters.judging import Filter, judge
from tests.filters.conftest import texts


def test_a_verdict_on_some_sources_becomes_one_on_all_rows() -> None:
    documents = pa.concat_tables([texts("a", source="one"), texts("b", "c", source="two"), texts("d", source="one")])

    def judged(chosen: pa.Table) -> Verdict:
        assert chosen["text"].to_pylist() == ["b", "c"]
        spans = pa.Table.from_pylist([{"row": 1, "begin": 0, "end": 1, "reason": "cut"}], SPANS)
        return Verdict(pa.array(["bad", None]), pa.array(["seen", None]), spans, pa.array(["x", "y"]))

    verdict = judge(documents, Filter(sources=["two"]), judged)
    assert verdict.reason.to_pylist() == [None, "bad", None, None]
    assert verdict.evidence.to_pylist() == [None, "seen", None, None]
    assert verdict.spans is not None and verdict.spans["row"].to_pylist() == [2]
    assert verdict.labels is not None and verdict.labels.to_pylist() == [None, "x", "y", None]


def test_without_a_document_of_its_sources_a_filter_is_not_asked() -> None:
    verdict = judge(texts("a"), Filter(sources=["two"]), lambda chosen: 1 / 0)  # type: ignore[arg-type,return-value]
    assert verdict.reason.to_pylist() == [None]
