"""Which column of a row holds what: declared in the recipe, never guessed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from core.documents.templates import template_columns
from core.options import Options

Form = Literal["text", "messages", "instruction", "questions", "pair"]
Role = Literal["system", "user", "assistant"]
Column = Annotated[str, Field(min_length=1)]

FORMS: dict[Form, tuple[str, ...]] = {  # the keys of a mapping that make a document
    "text": ("text",),
    "messages": ("messages",),
    "instruction": ("instruction", "output"),
    "questions": ("questions", "answers"),
    "pair": ("prompt", "chosen", "rejected"),
}
GO_WITH: dict[str, tuple[Form, ...]] = {  # further keys of a mapping, and the forms that have them
    "role": ("messages",),
    "content": ("messages",),
    "roles": ("messages",),
    "input": ("instruction",),
    "context": ("questions",),
    "history": ("questions",),
    "instruction_role": ("instruction", "questions"),
}


class Fields(Options):
    """Which columns make a document, in exactly one of five forms.

    `{text}`, `{messages}`, `{instruction, input (optional), output}`, `{prompt, chosen, rejected}`, or
    `{questions, answers, context and instruction (optional)}`.
    A name that is no column and has dots in it is a path into nested values: `instances.0.output`.
    Templates, and an instruction apart from its input, are what Birbal's data are made with
    (https://github.com/Upaya07/NeurIPS-llm-efficiency-challenge, data_prep/combine_datasets.py).
    """

    text: Column | None = Field(None, description="Column with the text of a document.")

    messages: Column | None = Field(
        None,
        description="Column with a dialogue: a list of {role, content} objects, or of texts (as LIMA's), of which the "
        "user says the first, the assistant the second, and so on.",
    )
    role: Column = Field("role", description="Key of a message that holds who speaks.")
    content: Column = Field("content", description="Key of a message that holds what is said.")
    roles: dict[str, Role] | None = Field(
        None,
        description="Names of the roles in the data, as {name: role}, e.g. {human: user, gpt: assistant}. "
        "Without it they must be system, user and assistant already.",
    )

    instruction: Column | None = Field(None, description="Column with what the user asks.")
    input: Column | None = Field(
        None,
        description="Column with more of the user's turn, put below the instruction where it is not empty.",
    )
    output: Column | None = Field(None, description="Column with the assistant's answer.")
    instruction_role: Literal["user", "system"] = Field(
        "user",
        description="user: instruction and input (or what is asked of a context) are one turn; system: the instruction "
        "is a turn of its own before it. Where there is no input the instruction is the user's turn.",
    )

    questions: Column | None = Field(None, description="Column with a list of questions that follow each other.")
    answers: Column | None = Field(None, description="Column with the list of their answers.")
    context: Column | None = Field(None, description="Column with what the questions are about; may be empty.")
    history: Literal["turns", "text"] = Field(
        "turns",
        description="turns: a dialogue of all questions and answers, the context above the first. text: one question "
        "is asked, and the context, the earlier questions and their answers stand above it; which one is drawn by the "
        "document's id, from the third on (the last where there are fewer).",
    )

    prompt: Column | None = Field(None, description="Column with the prompt of a preference pair.")
    chosen: Column | None = Field(None, description="Column with the preferred completion.")
    rejected: Column | None = Field(None, description="Column with the other completion.")

    id: Column | None = Field(
        None, description="Column with the document's id; without it the id is source:file number:row."
    )
    meta: list[Column] = Field([], description="Columns that are kept beside the document, as a JSON object.")

    remove: dict[Column, list[Column]] = Field(
        {},
        description="Texts that are taken out of columns wherever they stand, before all else, "
        'e.g. {context: [" CANNOTANSWER"]} for QuAC.',
    )
    templates: dict[Column, Column] = Field(
        {},
        description="Columns made of others, which the other keys can name: {name: text with {column} in braces}, or "
        "a constant text. White space at the ends is left out; {{ and }} stand for braces.",
    )

    @property
    def form(self) -> Form:
        return next(form for form, names in FORMS.items() if all(getattr(self, name) for name in names))

    @property
    def made_of(self) -> set[str]:
        """The columns, and templates, that documents are made of."""
        names = [name for names in FORMS.values() for name in names]
        columns = [getattr(self, name) for name in (*names, "input", "context", "id")]
        return {column for column in (*columns, *self.meta) if column is not None}

    @property
    def needed(self) -> set[str]:
        """The columns that are read, a path as it is written."""
        within = [template_columns(template) for template in self.templates.values()]
        return (self.made_of - self.templates.keys()).union(*within)

    @model_validator(mode="after")
    def _exactly_one_form(self) -> Fields:
        started = {
            form: names for form, names in FORMS.items() if any(getattr(self, name) is not None for name in names)
        }
        if "questions" in started and self.output is None:
            started.pop("instruction", None)  # it belongs to the questions
        if len(started) != 1:
            raise ValueError(
                f"fields need exactly one of {', '.join(map('/'.join, FORMS.values()))}; "
                f"found {' and '.join(map('/'.join, started.values())) or 'none'}"
            )
        [(form, names)] = started.items()
        missing = [name for name in names if getattr(self, name) is None]
        if missing:
            raise ValueError(f"fields with {'/'.join(names)} also need {' and '.join(missing)}")
        for name in changed(self, set(GO_WITH)):
            if form not in GO_WITH[name]:
                expected = " or ".join("/".join(FORMS[each]) for each in GO_WITH[name])
                raise ValueError(f"fields.{name} goes with {expected}, not with {'/'.join(names)}")
        beside = "input" if form == "instruction" else "instruction"
        if self.instruction_role == "system" and getattr(self, beside) is None:
            raise ValueError(f"fields.instruction_role: system goes with {beside}: there is nothing to keep apart")
        return self

    @model_validator(mode="after")
    def _templates_and_removals_are_used(self) -> Fields:
        if unused := self.templates.keys() - self.made_of:
            raise ValueError(f"fields.templates.{min(unused)} is made for nothing: no other key of fields names it")
        if unused := self.remove.keys() - self.needed:
            raise ValueError(f"fields.remove.{min(unused)}: no other key of fields, and no template, names that column")
        return self


def changed(options: Options, names: set[str]) -> list[str]:
    """Those of the named fields that are not as they are by default, in alphabetical order."""
    return sorted(name for name in names if getattr(options, name) != type(options).model_fields[name].default)
