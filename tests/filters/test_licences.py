from __future__ import annotations

import pyarrow as pa
import pytest
from pydantic import ValidationError

from core.documents.editing import edited
from core.errors import DataError
from core.filters.code import Code, code
from core.filters.licences import is_allowed, licence
from tests.filters.conftest import pairs, reasons, table, texts

BODY = "import os\n\n\ndef main():\n    return os.name\n"
MIT = "# Permission is hereby granted, free of\n# charge, to any person obtaining a copy\n"
GPL = "/*\n * This program is free software: GNU General\n * Public License, version 3.\n */\n"
BSD3 = "# Redistribution and use in source and binary forms, with or without\n# modification.\n# Neither the name of\n"


def found(text: str) -> str | None:
    [name] = licence(pa.array([text], pa.large_string())).to_pylist()
    return name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("// SPDX-License-Identifier: MIT\nint x;\n", "MIT"),
        ("/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */\n", "(GPL-2.0-only OR MIT)"),
        ("# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception\n", "Apache-2.0 WITH LLVM-exception"),
        (MIT, "MIT"),
        (GPL, "GPL"),
        (GPL.replace("GNU General", "GNU Affero General"), "AGPL"),
        (GPL.replace("GNU General", "GNU Lesser General"), "LGPL"),
        (BSD3, "BSD-3-Clause"),
        (BSD3.replace("Neither", "Either"), "BSD-2-Clause"),
        ("# Use of this source code is governed by a BSD-style\n# license\n", "BSD"),
        ('# Licensed under the Apache License, Version 2.0 (the "License");\n', "Apache-2.0"),
        ("// This Source Code Form is subject to the terms of the Mozilla Public\n// License, v. 2.0.\n", "MPL-2.0"),
        ("# Copyright 2020 Somebody. All rights reserved.\n", None),
        (BODY, None),
        ("", None),
        ("x\n" * 6000 + MIT, None),
    ],
)
def test_licence_is_read_off_a_tag_or_a_phrase_over_lines(text: str, name: str | None) -> None:
    assert found(text) == name


@pytest.mark.parametrize(
    ("expression", "allowed", "answer"),
    [
        ("MIT", ["mit"], True),
        ("GPL-3.0-or-later", ["GPL"], True),
        ("LGPL-2.1", ["GPL"], False),
        ("(GPL-2.0-only OR MIT)", ["MIT"], True),
        ("GPL-2.0 AND MIT", ["MIT"], False),
        ("Apache-2.0 WITH LLVM-exception", ["Apache-2.0"], True),
        ("Apache-2.0 AND MIT OR Proprietary", ["MIT", "Apache"], True),
        ("GPL-2.0+", ["GPL-2.0"], True),
    ],
)
def test_expressions_of_licences(expression: str, allowed: list[str], answer: bool) -> None:
    assert is_allowed(expression, allowed) is answer


def test_other_and_missing_licences_are_dropped_only_if_asked() -> None:
    documents = texts(MIT + BODY, GPL + BODY, BODY)
    assert pairs(code(documents, Code())) == [(None, None)] * 3
    permissive = ["MIT", "BSD"]
    assert pairs(code(documents, Code(licences=permissive))) == [(None, None), ("other_licence", "GPL"), (None, None)]
    required = Code(licences=permissive, require_licence=True)
    assert pairs(code(documents, required)) == [(None, None), ("other_licence", "GPL"), ("no_licence", None)]
    assert reasons(code(documents, Code(require_licence=True))) == [None, None, "no_licence"]


@pytest.mark.parametrize(
    ("before", "header", "after"),
    [
        ("", "# Copyright 2020 Müller\n# " + "-" * 20 + "\n\n", BODY),
        ("#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n\n", "# License: MIT\n", BODY),
        ("\ufeff", "/* Copyright\n\n * all of it */\n", "#include <stdio.h>\n"),
        ("<?php\n", "// SPDX-License-Identifier: MIT\n", "// what follows is PHP\nf();\n".replace("//", "$x =")),
        ('<?xml version="1.0"?>\n', "<!-- Copyright 版权 -->\n", "<a/>\n"),
        ("", "-- Licence: see file\r\n", "select 1;\n"),
    ],
)
def test_header_of_a_licence_is_cut_and_what_must_stay_first_is_not(before: str, header: str, after: str) -> None:
    documents = texts(before + header + after)
    verdict = code(documents, Code(cut_licence_header=True))
    assert verdict.spans is not None
    [span] = verdict.spans.to_pylist()
    assert (span["reason"], span["replacement"]) == ("licence_header", None)
    assert edited(documents, verdict.spans)["text"].to_pylist() == [before + after]
    assert code(documents, Code()).spans is None


@pytest.mark.parametrize(
    "text",
    [
        "# What this module does\nimport os\n# Copyright\n",
        '#include "license.h"\nint copyright;\n',
        '"""Copyright in a docstring."""\nx = 1\n',
        "x = 1  # licence\n",
        "",
    ],
)
def test_other_comments_and_code_stay(text: str) -> None:
    spans = code(texts(text), Code(cut_licence_header=True, min_alphanumeric_share=0)).spans
    assert spans is not None and spans.num_rows == 0


def test_nothing_is_cut_of_a_file_that_is_dropped() -> None:
    verdict = code(texts(GPL + BODY, GPL + "." * 500), Code(cut_licence_header=True))
    assert verdict.spans is not None and verdict.spans["row"].to_pylist() == [0]


def test_extensions_are_those_of_the_path_in_any_case() -> None:
    rows = [
        {"id": name, "source": "s", "text": BODY}
        for name in ("a/b.py", "B.PY", "x.min.js", "src/Makefile", "a.py/b", ".py")
    ]
    found = pairs(code(table(*rows), Code(extensions=["py", ".C", "makefile"])))
    assert found == [
        (None, None),
        (None, None),
        ("other_extension", "js"),
        (None, None),
        ("other_extension", "b"),
        ("other_extension", ".py"),
    ]


def test_path_can_stand_in_the_meta_and_must_then() -> None:
    rows = [
        {"id": "1", "source": "s", "text": BODY, "meta": meta}
        for meta in ('{"path": "a.py"}', '{"path": "c:\\\\b.exe"}')
    ]
    options = Code(extensions=["py"], path_key="path")
    assert pairs(code(table(*rows), options)) == [(None, None), ("other_extension", "exe")]
    for meta in (None, "{}", '{"path": 1}'):
        with pytest.raises(DataError, match="no text under 'path'"):
            code(table({"id": "1", "source": "s", "text": BODY, "meta": meta}), options)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Apache 2.0", "'Apache 2.0' is no SPDX identifier .*known without a tag: AGPL, .*did you mean 'Apache-2.0'"),
        ("MIT OR ISC", "'MIT OR ISC' is no SPDX identifier"),
        ("GPL-2.0+", r"'GPL-2\.0\+' is no SPDX identifier"),
        ("", "'' is no SPDX identifier"),
    ],
)
def test_name_that_no_licence_can_have_is_refused_with_those_that_are_known(name: str, says: str) -> None:
    assert Code(licences=["mit", "BSL-1.0", "Apache"]).licences
    with pytest.raises(ValidationError, match=says):
        Code(licences=["MIT", name])
