"""Text from HTML pages, by resiliparse."""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Annotated, Literal

from pydantic import Field, model_validator

from core.options import Options

DEEPEST = 2_000  # elements inside each other; finding the main content takes time by the square of that
TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*)")
# They have no end tag, or need none (https://html.spec.whatwg.org/#optional-tags), so that they do not nest.
UNCLOSED = frozenset(
    re.findall(
        r"\w+",
        "area base br col embed hr img input link meta param source track wbr html head body li dt dd p rt rp optgroup "
        "option colgroup caption thead tbody tfoot tr td th",
    )
)


class TooDeep(Exception):
    """A page whose elements are nested so deeply that reading it would take minutes or hours."""


class Html(Options):
    """What of an HTML page becomes text, by resiliparse (https://resiliparse.chatnoir.eu/en/stable/man/extract.html).

    DCLM reads its pages with resiliparse too (https://arxiv.org/abs/2406.11794, section 4.2), but its published code
    has no arguments of it. The defaults are those of NeMo Curator for resiliparse (`ResiliparseExtractor` in
    nemo_curator/stages/text/download/html_extractors/resiliparse.py): the main content, without alternative texts.
    """

    main_content: bool = Field(True, description="Only the main content: no menus, sidebars, headers and footers.")
    preserve_formatting: bool | Literal["minimal_html"] = Field(
        True,
        description="Keep paragraphs, line breaks and lists; minimal_html: with the tags of those. "
        "Without it the text is one line.",
    )
    list_bullets: bool = Field(True, description="Put bullets or numbers before the items of lists.")
    alt_texts: bool = Field(False, description="Keep the alternative texts of images.")
    links: bool = Field(False, description="Put the address behind the text of a link.")
    form_fields: bool = Field(False, description="Keep the fields of forms and what is in them.")
    noscript: bool = Field(False, description="Keep what is shown where scripts are switched off.")
    comments: bool = Field(True, description="Take readers' comments for main content.")
    skip_elements: list[Annotated[str, Field(min_length=1)]] = Field(
        [], description="CSS selectors of elements to leave out, e.g. .footnote."
    )

    @model_validator(mode="after")
    def _selectors_can_be_read(self) -> Html:
        if self.skip_elements:
            from resiliparse.extract.html2text import extract_plain_text

            for selector in self.skip_elements:
                try:
                    extract_plain_text("<p></p>", skip_elements=[selector])
                except Exception as error:  # resiliparse's own
                    raise ValueError(f"skip_elements: '{selector}' is no CSS selector ({error})") from error
        return self


def decoded(page: bytes) -> str:
    """A page's characters: by the encoding it declares in a meta tag, else by the one it looks like."""
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    encoding = detect_encoding(page, from_html_meta=True) or "utf-8"
    if encoding == "cp1252":  # also what it says of a long page of UTF-8 where the bytes it looked at are all ASCII
        encoding = "utf-8"  # bytes_to_str goes on to cp1252 where the bytes are no UTF-8
    text: str = bytes_to_str(page, encoding)
    return text


def extracted(page: str, options: Html) -> str:
    """The text of a page, without white space around it; "" where it has none. Raises TooDeep."""
    from resiliparse.extract.html2text import extract_plain_text

    if page.count("<") > DEEPEST and _depth(page) > DEEPEST:
        raise TooDeep(f"more than {DEEPEST:,} elements are nested in each other")
    text: str = extract_plain_text(
        page,
        main_content=options.main_content,
        preserve_formatting=options.preserve_formatting,
        list_bullets=options.list_bullets,
        alt_texts=options.alt_texts,
        links=options.links,
        form_fields=options.form_fields,
        noscript=options.noscript,
        comments=options.comments,
        skip_elements=options.skip_elements or None,
    )
    return text.strip()


def _depth(page: str) -> int:
    """About how many elements are nested in each other, by the tags alone."""
    steps = (-1 if end else 1 for end, name in TAG.findall(page) if name.lower() not in UNCLOSED)
    return max(accumulate(steps), default=0)
