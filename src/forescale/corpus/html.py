"""The text of a web page: tags, scripts, styles and navigation left out, blocks on lines of their own."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_SKIPPED = frozenset({"script", "style", "noscript", "template", "svg", "head", "nav", "footer", "form", "iframe"})
_BLOCK_NAMES = (
    "address article aside blockquote body dd div dl dt figcaption figure h1 h2 h3 h4 h5 h6 header hr li main ol p pre "
    "section table td th tr ul br"
)
_BLOCKS = frozenset(_BLOCK_NAMES.split())


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self.skipping: list[str] = []
        self.pre = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "body":
            self.skipping.clear()  # a head that was never closed
        if tag in _SKIPPED:
            self.skipping.append(tag)
        elif tag in _BLOCKS:
            self.pieces.append("\n" if tag in ("br", "li", "tr", "td", "th", "dt", "dd") else "\n\n")
            self.pre += tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        if tag in self.skipping:
            del self.skipping[self.skipping.index(tag) :]
        elif tag in _BLOCKS and tag != "br":
            self.pieces.append("\n" if tag in ("li", "tr", "td", "th", "dt", "dd") else "\n\n")
            self.pre -= tag == "pre" and self.pre > 0

    def handle_data(self, data: str) -> None:
        if not self.skipping:
            self.pieces.append(data if self.pre else re.sub(r"\s+", " ", data))


def text_of_html(page: str) -> str:
    """Readable text of a page.

    >>> text_of_html("<head><title>x</title></head><body><p>One <b>two</b></p><script>f()</script><p>three")
    'One two\\n\\nthree'
    """
    parser = _Text()
    parser.feed(page)
    parser.close()
    text = re.sub(r"[ \t]*\n[ \t]*\n\s*\n*", "\n\n", "".join(parser.pieces))
    return re.sub(r"[ \t]+\n", "\n", re.sub(r"\n (?=\S)", "\n", text)).strip()
