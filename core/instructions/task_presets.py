"""Which of Natural Instructions' tasks others take, as rules.

`birbal` (Jindal et al. 2024, https://openreview.net/forum?id=wGvflAGX5b, section 3.3): English in and out, no MMLU, no
question generation or understanding, no wrong candidates, no mathematics, no linguistics. The text names the
categories that go, but far from all that are missing in the published list, so the rule names those that stay: the 33
of the list less Keyword Tagging, which the text excludes and the list has one task of. "Math categories" is read as the
domain Mathematics: it takes out the 57 tasks of Program Execution and most of the question answering that the list has
not. Of the 1,613 tasks in NI's table the rule selects 503: 461 of the 462 published ones, and 42 more from the twelve
categories in which the list was cut by hand. For the list itself, give its file as `tasks`.
"""

from __future__ import annotations

from typing import Any, Literal

Preset = Literal["birbal"]

PRESETS: dict[Preset, dict[str, Any]] = {
    "birbal": {
        "input_languages": ["English"],
        "output_languages": ["English"],
        "domains": {"deny": ["Mathematics*"]},
        "exclude_tasks": ["task*_mmmlu_*"],  # MMLU, by name: NI's table does not have the sources
        "categories": {
            "allow": [
                "Answer Verification",
                "Cause Effect Classification",
                "Coherence Classification",
                "Commonsense Classification",
                "Dialogue Generation",
                "Ethics Classification",
                "Explanation",
                "Fact Verification",
                "Fill in The Blank",
                "Grammar Error Correction",
                "Grammar Error Detection",
                "Information Extraction",
                "Poem Generation",
                "Program Execution",
                "Punctuation Error Detection",
                "Question Answering",
                "Section Classification",
                "Sentence Composition",
                "Sentence Compression",
                "Sentence Expansion",
                "Sentence Ordering",
                "Sentiment Analysis",
                "Spelling Error Detection",
                "Stance Detection",
                "Stereotype Detection",
                "Story Composition",
                "Summarization",
                "Text Categorization",
                "Text Completion",
                "Textual Entailment",
                "Title Generation",
                "Toxic Language Detection",
            ]
        },
    }
}
