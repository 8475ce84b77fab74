"""Where documents come from: declared in the recipe, never guessed."""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from core.documents.fields import Column, Fields, changed
from core.documents.html import Html
from core.documents.skills import Skills
from core.options import Options

Format = Literal["json", "jsonl", "csv", "tsv", "parquet", "text", "html", "warc"]

CREDENTIALS = re.compile(r"://[^/\s@]+@")  # of a URL: user:password@

SUFFIXES: dict[str, Format] = {
    "json": "json",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "csv": "csv",
    "tsv": "tsv",
    "parquet": "parquet",
    "txt": "text",
    "md": "text",
    "rst": "text",
    "html": "html",
    "htm": "html",
    "warc": "warc",
}
COLUMNLESS = {"text", "html", "warc"}  # what they hold is known: they need no fields


def format_by_name(name: str) -> Format | None:
    """The format that a file's suffix (before .gz or .zst) stands for; None for an unknown one."""
    bare = name.lower().removesuffix(".gz").removesuffix(".zst")
    return SUFFIXES.get(bare.rpartition(".")[2]) if "." in bare else None


class PythonLibrary(Options):
    """The Python installation itself as a corpus: real prose and code that every machine has."""

    kinds: list[Literal["topics", "docstrings", "source"]] = Field(
        ["topics", "docstrings", "source"],
        min_length=1,
        description="topics: the language reference in pydoc; docstrings: those of a standard module, "
        "as one document; source: a module's source file. Read as text: no module is imported.",
    )
    max_documents: int | None = Field(
        None,
        ge=1,
        description="At most so many documents, spread evenly over the sorted list; the others are not read.",
    )
    max_characters: int | None = Field(
        None,
        ge=1,
        description="A document with more characters is rejected as too_long (and stands in the ledger).",
    )

    @model_validator(mode="after")
    def _each_kind_once(self) -> PythonLibrary:
        if len(set(self.kinds)) != len(self.kinds):
            raise ValueError(f"python_library.kinds names one more than once: {', '.join(self.kinds)}")
        return self


class Source(Options):
    """Where documents come from: files, a Hugging Face dataset, the Python library or generated skills."""

    kinds: ClassVar[dict[str, set[str]]] = {  # exactly one of these keys is given; the others that go with it
        "files": {"format", "records", "columns", "fields", "html"},
        "dataset": {"subset", "split", "revision", "fields", "html"},
        "python_library": set(),
        "skills": set(),
    }
    makers: ClassVar[tuple[str, ...]] = ("fields",)  # of rows with columns, exactly one of these says what is made

    files: Column | list[Column] | None = Field(
        None,
        description="Paths, patterns (*, **, ?) or fsspec URLs (s3://, gs://, https://...). "
        "A relative path is looked for beside the recipe, then in the current directory.",
    )
    format: Format | None = Field(
        None, description="Format of the files; without it, by the suffix of each name, before .gz or .zst."
    )
    records: Column | None = Field(
        None, description="For JSON files: the key that holds the list of rows, e.g. examples."
    )
    columns: list[Column] | None = Field(
        None,
        min_length=1,
        description="For CSV and TSV files without a header line: the names of the columns.",
    )

    dataset: Column | None = Field(None, description="Hugging Face dataset: its name, or a local directory of one.")
    subset: Column | None = Field(None, description="Configuration of the dataset.")
    split: Column = Field("train", description="Split of the dataset.")
    revision: Column | None = Field(None, description="Commit, tag or branch of the dataset.")

    python_library: PythonLibrary | None = Field(None, description="The Python installation's own texts.")
    skills: Skills | None = Field(None, description="Generated instructions for a few learnable skills.")

    fields: Fields | None = Field(
        None, description="Which columns make a document. Needed for files (but text, html and warc) and dataset."
    )
    html: Html | None = Field(
        None,
        description="How text is taken from HTML. With fields.text: that column holds HTML pages, as text or bytes. "
        "Files of html (each one document) and warc (each HTML response one) are taken so without it, too.",
    )
    on_error: Literal["stop", "skip"] = Field(
        "stop",
        description="What a file or row that cannot be read does: stop the run, or go into the ledger.",
    )

    @property
    def kind(self) -> str:
        """The key that says where the documents are, e.g. "files"."""
        return next(name for name in self.kinds if getattr(self, name) is not None)

    @property
    def patterns(self) -> list[str]:
        """The paths, patterns and URLs of a source of files."""
        return [self.files] if isinstance(self.files, str) else self.files or []

    @property
    def formats(self) -> set[Format | None]:
        """The formats of a source of files, as far as the patterns tell; None: one of them does not."""
        if self.files is None:
            return set()
        return {self.format} if self.format else {format_by_name(pattern) for pattern in self.patterns}

    @property
    def has_columns(self) -> bool:
        """Whether one of `makers` must say what a document is."""
        return self.kind == "dataset" or (self.kind == "files" and not self.formats <= COLUMNLESS)

    @model_validator(mode="after")
    def _one_kind_with_its_keys(self) -> Source:
        if any(CREDENTIALS.search(pattern) for pattern in self.patterns):
            raise ValueError("an address with a password in it would be kept in every run: give it by the environment")
        kinds = [name for name in self.kinds if getattr(self, name) is not None]
        if len(kinds) != 1:
            raise ValueError(
                f"a source needs exactly one of {', '.join(self.kinds)}; found {' and '.join(kinds) or 'none'}"
            )
        others = set(type(self).model_fields) - {kinds[0], "on_error", *self.kinds[kinds[0]]}
        if strange := changed(self, others):
            raise ValueError(f"a source of {kinds[0]} has no {' and no '.join(strange)}")
        if self.files == []:
            raise ValueError("files is an empty list: name at least one file")
        made = [name for name in self.makers if getattr(self, name) is not None]
        if self.has_columns and not made:
            more = f", or give {' or '.join(self.makers[1:])}" if len(self.makers) > 1 else ""
            raise ValueError(
                "fields is missing: say which columns make a document, e.g. fields: {text: text} "
                f"(files that are text as a whole: format: text){more}"
            )
        if len(made) > 1:
            raise ValueError(f"{' and '.join(made)} each say what a document is: give one of them")
        if made and not self.has_columns:
            kind = " and ".join(sorted(map(str, self.formats)))
            raise ValueError(
                f"{kind} files have no columns: what is a document in them is known, so leave {made[0]} out"
            )
        if self.html is not None and not self.formats & {"html", "warc"} and self.fields and self.fields.form != "text":
            raise ValueError(f"html goes with fields.text, the column that holds pages, not with {self.fields.form}")
        if self.html is not None and self.formats == {"text"}:
            raise ValueError("html goes with files of html or warc, or with fields.text: say format: html")
        if self.records is not None and self.format not in (None, "json"):
            raise ValueError(f"records goes with JSON files, not with format: {self.format}")
        if self.columns is not None and self.format not in (None, "csv", "tsv"):
            raise ValueError(f"columns goes with CSV and TSV files, not with format: {self.format}")
        return self
