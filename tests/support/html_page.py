"""A page taken apart by Python's own parser: its tables, texts and images, and whatever it refers to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

REFERRING = {"src", "href", "action", "data", "poster", "srcset", "formaction", "background", "ping", "cite"}


@dataclass
class Parsed(HTMLParser):
    """What stands on a page.

    Attributes:
        tables: By section, one row of texts per row; a cell with an exact value has that instead, a float or int.
        texts: Preformatted, by section.
        tags: Every element that was opened.
        attributes: Of all elements, (element, name, value).
        text: All text that is shown.
    """

    tables: dict[str, list[list[Any]]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self.section, self.inside, self.hidden = "", "", False

    @classmethod
    def of(cls, content: bytes) -> "Parsed":
        page = cls()
        page.feed(content.decode())
        page.close()
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.hidden = tag == "style"
        if tag == "section":
            self.section = str(attributes.get("id"))
        elif tag == "tr":
            self.tables.setdefault(self.section, []).append([])
        elif tag in ("td", "th"):
            self.inside = tag
            value = attributes.get("data-value")
            self.tables[self.section][-1].append("" if value is None else float(value))
        elif tag == "pre":
            self.inside, self.texts[self.section] = tag, ""

    def handle_endtag(self, tag: str) -> None:
        self.hidden = False
        if tag == self.inside:
            self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.hidden:
            return
        self.text += data
        if self.inside == "pre":
            self.texts[self.section] += data
        elif self.inside and isinstance(self.tables[self.section][-1][-1], str):
            self.tables[self.section][-1][-1] += data

    def named(self, section: str) -> dict[str, Any]:
        """Return a table of two columns as names and values."""
        return {row[0]: row[1] for row in self.tables[section]}

    def records(self, section: str) -> dict[str, Mapping[str, Any]]:
        """Return a table with a head, by its first column."""
        head, *rows = self.tables[section]
        return {row[0]: dict(zip(head, row, strict=True)) for row in rows}

    def references(self) -> list[str]:
        """Return every address that the page refers to, but for data within it and places on it."""
        found = [value for _, name, value in self.attributes if name in REFERRING]
        return [value for value in found if not value.startswith(("data:image/png;base64,", "data:,", "#"))]
