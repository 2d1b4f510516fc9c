"""A page of text and pixels as PNG. Pillow writes the text in matplotlib's font, ten times as fast as matplotlib.

Of matplotlib only objects are used (a Figure on an Agg canvas), never pyplot, whose current figure belongs to the whole
process. One page is set at a time, because fonts are not made for threads.
"""

import base64
import io
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import get_data_path
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

DPI = 100
LEFT = 0.75  # for labels, on every page
THUMBNAIL_BASE64_BYTES = 99_000  # Prefect shows a picture inline up to 100 kB
THUMBNAIL_WIDTH = 800
COMPRESSION_LEVEL = 2
FRAME = (60, 60, 60)
_LOCK = threading.Lock()
_IDLE: dict[tuple[str, ...], Figure] = {}


@dataclass(frozen=True)
class Picture:
    """A picture as a file, and a small one (base64) for places that show it in a line of text."""

    name: str
    png: bytes
    thumbnail: str


@dataclass(frozen=True)
class _Text:
    """A text at a place, in inches from the lower left; `anchor` as Pillow has it."""

    x: float
    y: float
    text: str
    size: float
    anchor: str
    bold: bool
    grey: int
    upright: bool


@dataclass(frozen=True, eq=False)
class Sheet:
    """A page being laid out, in inches from the lower left; `blocks` of pixels are pasted over the rest."""

    width: float
    height: float
    blocks: list[tuple[float, float, np.ndarray]]
    ticks: list[tuple[float, float, float, float]]
    texts: list[_Text]

    @classmethod
    def of(cls, width: float, height: float) -> "Sheet":
        """Return an empty page of that size."""
        return cls(width, height, [], [], [])

    def write(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 8,
        *,
        anchor: str = "ls",
        bold: bool = False,
        grey: int = 0,
        upright: bool = False,
    ) -> None:
        """Write a text; `size` in points, `upright` turned by 90 degrees about its middle."""
        self.texts.append(_Text(x, y, text, size, anchor, bold, grey, upright))

    def paste(self, left: float, bottom: float, pixels: np.ndarray) -> None:
        """Paste pixels, uint8 RGB, with a frame around them."""
        self.blocks.append((left, bottom, pixels))

    def tick(self, x: float, y: float, dx: float, dy: float) -> None:
        """Draw a short line."""
        self.ticks.append((x, y, x + dx, y + dy))

    def rendered(self) -> np.ndarray:
        """Return the page as pixels, uint8 RGB."""
        page = Image.new("RGB", (round(self.width * DPI), round(self.height * DPI)), "white")
        with _LOCK:
            draw = ImageDraw.Draw(page)
            for x, y, to_x, to_y in self.ticks:
                draw.line([(x * DPI, self._down(y)), (to_x * DPI, self._down(to_y))], fill=(64, 64, 64))
            for text in self.texts:
                self._put(page, draw, text)
        pixels = np.array(page)
        for left, bottom, block in self.blocks:
            rows, columns = block.shape[:2]
            y, x = round(self._down(bottom)) - rows, round(left * DPI)
            pixels[y - 1 : y + rows + 1, x - 1 : x + columns + 1] = FRAME
            pixels[y : y + rows, x : x + columns] = block
        return pixels

    def _down(self, y: float) -> float:
        return (self.height - y) * DPI

    def _put(self, page: Image.Image, draw: ImageDraw.ImageDraw, text: _Text) -> None:
        font, place = _font(text.size, text.bold), (text.x * DPI, self._down(text.y))
        shown = text.text.replace("\n", " ")
        if not text.upright:
            draw.text(place, shown, (text.grey,) * 3, font, text.anchor)
            return
        left, top, right, bottom = font.getbbox(shown)
        label = Image.new("RGB", (max(1, round(right - left) + 2), max(1, round(bottom - top) + 2)), "white")
        ImageDraw.Draw(label).text((1 - left, 1 - top), shown, (text.grey,) * 3, font)
        label = label.transpose(Image.Transpose.ROTATE_90)
        page.paste(label, (round(place[0] - label.width / 2), round(place[1] - label.height / 2)))


@cache
def _font(size: float, bold: bool) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    # From memory: a file would stay open for as long as the font lives.
    content = (Path(get_data_path()) / "fonts/ttf" / name).read_bytes()
    return ImageFont.truetype(io.BytesIO(content), size * DPI / 72, layout_engine=ImageFont.Layout.BASIC)


@contextmanager
def empty_figure(width: float, height: float, *kinds: str) -> Iterator[Figure]:
    """Yield a figure of that size in inches with an axes for each of `kinds`, to be placed and drawn in.

    It is emptied and used again for the next figure of the same kinds: matplotlib takes longer to make axes and their
    ticks than to draw. Whoever draws sets limits, scale, locators, formatters and labels each time.
    """
    figure = _IDLE.pop(kinds, None)
    if figure is None:
        figure = Figure(dpi=DPI, facecolor="white")
        for _ in kinds:
            figure.add_axes((0, 0, 1, 1))
    figure.set_size_inches(width, height)
    yield figure
    for axes in figure.axes:
        legend = axes.get_legend()
        for artist in (*axes.lines, *axes.patches, *axes.images, *axes.texts, *([legend] if legend else [])):
            artist.remove()
    for text in [*figure.texts]:
        text.remove()
    _IDLE[kinds] = figure  # not after an error: then what it holds is unknown


def drawn(figure: Figure) -> np.ndarray:
    """Render a figure to pixels, uint8 RGB."""
    canvas = FigureCanvasAgg(figure)
    with _LOCK:
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def picture(name: str, page: np.ndarray, upper: float) -> Picture:
    """Return a page (uint8 RGB) as a file; the thumbnail shows its `upper` inches."""
    top = page[: round(upper * DPI)]
    return Picture(name, png(page), _thumbnail(Image.fromarray(top)))


def png(page: np.ndarray) -> bytes:
    """Return pixels (rows, columns, 3; uint8 RGB) as a PNG file whose rows have no filter.

    Pillow tries all five filters on each row of RGB. Of a page with few colours that takes three times as long, and
    the file is larger. PNG (Third Edition) sections 5 and 9.
    """
    rows, columns, _ = page.shape
    unfiltered = np.zeros(
        (rows, 1 + 3 * columns), np.uint8
    )  # each row begins with the number of its filter, 0
    unfiltered[:, 1:] = page.reshape(rows, -1)
    header = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)  # 8 bits a sample, RGB
    chunks = (
        (b"IHDR", header),
        (b"IDAT", zlib.compress(unfiltered.tobytes(), COMPRESSION_LEVEL)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def _thumbnail(image: Image.Image) -> str:
    """Return the picture in 64 colours, as wide as the limit allows, base64."""
    width = min(image.width, THUMBNAIL_WIDTH)
    while True:
        small = image.resize((width, max(1, round(image.height * width / image.width))), Image.Resampling.BOX)
        buffer = io.BytesIO()
        small.quantize(64, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
            buffer, "png", compress_level=COMPRESSION_LEVEL
        )
        text = base64.b64encode(buffer.getvalue())
        if len(text) <= THUMBNAIL_BASE64_BYTES or width < 64:
            return text.decode()
        width = int(width * 0.97 * (THUMBNAIL_BASE64_BYTES / len(text)) ** 0.5)
