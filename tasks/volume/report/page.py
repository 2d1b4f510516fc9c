"""One self-contained HTML page: no script, no external address, every text escaped.

Names, text headers and everything else from a file may come from strangers. Besides the escaping, the page's own policy
forbids scripts and external content.
"""

import base64
import html
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
:root{color-scheme:light}
*{box-sizing:border-box}
body{margin:0;font:14px/1.45 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;color:#1c2127;background:#f3f4f6}
header,main,footer{max-width:2540px;margin:0 auto;padding:0 20px}
header{padding-top:20px}
h1{font-size:26px;line-height:1.2;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:17px;margin:0 0 8px}
p{margin:4px 0}
nav{margin:10px 0 0;display:flex;flex-wrap:wrap;gap:4px 14px}
nav a{color:#1f4e9c}
.badge{display:inline-block;padding:3px 10px;border-radius:12px;font-weight:600;background:#e7e9ec}
.badge.good{background:#d9f0df;color:#14532d}
.badge.open{background:#fdf0d0;color:#6b4b00}
.flow{display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start;margin:16px 0}
section{background:#fff;border:1px solid #dde0e4;border-radius:6px;padding:14px 16px;max-width:100%;overflow-x:auto}
section.wide,#histogram{flex:1 1 100%}
img{display:block;max-width:100%;height:auto}
table{border-collapse:collapse;font-size:13px}
caption{caption-side:bottom;text-align:left;color:#555;padding-top:6px;max-width:70em}
th,td{text-align:left;padding:3px 12px 3px 0;border-bottom:1px solid #eceef0;vertical-align:top}
td{overflow-wrap:break-word}
thead th{color:#555;font-weight:600;border-bottom:1px solid #c9cdd2}
tbody th{white-space:nowrap;max-width:40em;overflow-wrap:anywhere}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.pairs td.n{text-align:left}
pre{margin:0;font:12px/1.35 ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;white-space:pre}
.swatch{display:inline-block;width:12px;height:12px;border:1px solid #555;margin-right:6px;vertical-align:-1px}
ul{margin:4px 0;padding-left:20px}
footer{color:#555;padding-bottom:24px}
@media (min-width:2000px){
body{font-size:17px}h1{font-size:32px}h2{font-size:20px}table{font-size:16px}pre{font-size:15px}
}
@media print{body{background:#fff}section{break-inside:avoid;border:0}}
"""
_BIDI = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}


@dataclass(frozen=True)
class Cell:
    """A number: its text and its value."""

    shown: str
    value: float | int

    @classmethod
    def of(cls, value: float | int, form: str = ",.6g") -> "Cell":
        """Return a number in a form; whole numbers with all their digits."""
        whole = isinstance(value, int) and not isinstance(value, bool)
        return cls(format(value, "," if whole else form).replace("-", "\N{MINUS SIGN}"), value)


@dataclass(frozen=True)
class Table:
    """A table of texts and numbers; without columns, its first column names the rows."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    caption: str = ""
    wide: bool = False


@dataclass(frozen=True)
class ReportPage:
    """The parts of a page, in this order.

    Attributes:
        title: The name of the volume.
        lead: Description in one line.
        badge: Whether it is proven, and a class for that.
        pictures: Name, title and PNG, in rows.
        tables: Tables after the pictures.
        texts: Name, title and preformatted text.
        notes: Sentences.
        made: Program and version that made the page.
        labels: Colours of labels, CSS by name.
        first: Number of pictures at the top.
        first_tables: Number of tables beside those.
    """

    title: str
    lead: str
    badge: tuple[str, str]
    pictures: Sequence[tuple[str, str, bytes]]
    tables: Sequence[Table]
    texts: Sequence[tuple[str, str, str]]
    notes: Sequence[str]
    made: str
    labels: Mapping[str, str] = field(default_factory=dict)
    first: int = 0
    first_tables: int = 0


def escaped(text: object) -> str:
    """Return a text for HTML: markup escaped, and invisible characters and changes of direction replaced."""
    shown = str(text)
    if not shown.isprintable():  # else none of its characters is unfit
        shown = "".join(
            "\N{REPLACEMENT CHARACTER}" if _unfit(character) else character for character in shown
        )
    return html.escape(shown, quote=True)


def _unfit(character: str) -> bool:
    if character in "\n\t":
        return False
    return unicodedata.category(character) in ("Cc", "Cs") or unicodedata.bidirectional(character) in _BIDI


def rendered(page: ReportPage) -> bytes:
    """Return the page as UTF-8."""
    anchors = [(name, name) for name, _, _ in page.pictures]
    anchors += [(table.name, table.title) for table in page.tables if table.rows]
    anchors += [(name, title) for name, title, _ in page.texts]
    links = "".join(f'<a href="#{_id(name)}">{escaped(title)}</a>' for name, title in anchors)
    body = [
        f"<header><h1>{escaped(page.title)}</h1><p>{escaped(page.lead)}</p>"
        f'<p><span class="badge {page.badge[1]}" id="proof-badge">{escaped(page.badge[0])}</span></p>'
        f"<nav>{links}</nav></header>",
        '<main><div class="flow">',
        *(_picture(*picture) for picture in page.pictures[: page.first]),
        *(_table(table) for table in page.tables[: page.first_tables] if table.rows),
        '</div><div class="flow">',
        *(_picture(*picture) for picture in page.pictures[page.first :]),
        '</div><div class="flow">',
        *(_table(table) for table in page.tables[page.first_tables :] if table.rows),
        _colours(page.labels),
        *(
            f'<section id="{_id(name)}"><h2>{escaped(title)}</h2><pre>{escaped(text)}</pre></section>'
            for name, title, text in page.texts
        ),
        "</div></main>",
        f"<footer><ul>{''.join(f'<li>{escaped(note)}</li>' for note in page.notes)}</ul>"
        f"<p>{escaped(page.made)}</p></footer>",
    ]
    head = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{html.escape(POLICY, quote=False)}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f'<link rel="icon" href="data:,"><title>{escaped(page.title)}</title><style>{_STYLE}</style></head><body>\n'
    )
    return (head + "\n".join(part for part in body if part) + "\n</body></html>\n").encode()


def _id(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "x"


def _picture(name: str, title: str, png: bytes) -> str:
    data = base64.b64encode(png).decode()
    return (
        f'<section id="{_id(name)}"><img alt="{escaped(title)}" src="data:image/png;base64,{data}"></section>'
    )


def _table(table: Table) -> str:
    caption = f"<caption>{escaped(table.caption)}</caption>" if table.caption else ""
    numeric = [
        all(isinstance(cell, Cell) or not cell for cell in column) for column in zip(*table.rows, strict=True)
    ]
    head = ""
    if table.columns:
        cells = "".join(
            f'<th scope="col"{" class=n" if number else ""}>{escaped(column)}</th>'
            for column, number in zip(table.columns, numeric, strict=True)
        )
        head = f"<thead><tr>{cells}</tr></thead>"
    rows = "".join(f"<tr>{_row(row)}</tr>" for row in table.rows)
    kind = ' class="wide"' if table.wide else ""
    pairs = "" if table.columns else ' class="pairs"'
    return (
        f'<section id="{_id(table.name)}"{kind}><h2>{escaped(table.title)}</h2>'
        f"<table{pairs}>{caption}{head}<tbody>{rows}</tbody></table></section>"
    )


def _row(row: Sequence[str | Cell]) -> str:
    first, *others = row
    return f'<th scope="row">{escaped(first)}</th>' + "".join(map(_cell, others))


def _cell(cell: str | Cell) -> str:
    if isinstance(cell, Cell):
        return f'<td class="n" data-value="{escaped(repr(cell.value))}">{escaped(cell.shown)}</td>'
    return f"<td>{escaped(cell)}</td>"


def _colours(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    items = "".join(
        f'<tr><th scope="row"><span class="swatch" style="background:{escaped(colour)}"></span>'
        f"{escaped(name)}</th></tr>"
        for name, colour in labels.items()
    )
    return f'<section id="labels"><h2>Labels</h2><table><tbody>{items}</tbody></table></section>'
