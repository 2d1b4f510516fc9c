"""A page of text and pixels as PNG: matplotlib writes the text and lines, pixels are pasted over them.

Only matplotlib's objects are used (a Figure on an Agg canvas), never pyplot, whose current figure belongs to the whole
process. One page is set at a time, because text layout is not made for threads.
"""

import base64
import io
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from PIL import Image

DPI = 100
LEFT = 0.75  # for labels, on every page
THUMBNAIL_BASE64_BYTES = 99_000  # Prefect shows a picture inline up to 100 kB
THUMBNAIL_WIDTH = 800
FRAME = (60, 60, 60)
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Picture:
    """A picture as a file, and a small one (base64) for places that show it in a line of text."""

    name: str
    png: bytes
    thumbnail: str


@dataclass(frozen=True, eq=False)
class Sheet:
    """A page being laid out: `blocks` of pixels are pasted over the text when it is done."""

    figure: Figure
    height: float
    blocks: list[tuple[float, float, np.ndarray]]
    ticks: list[list[tuple[float, float]]]

    @classmethod
    def of(cls, width: float, height: float) -> "Sheet":
        """Return an empty page of that size in inches."""
        return cls(Figure(figsize=(width, height), dpi=DPI, facecolor="white"), height, [], [])

    def write(self, x: float, y: float, text: str, size: float = 8, **style: Any) -> None:
        """Write a text, which no character of it formats."""
        self.figure.text(
            x, y, text, fontsize=size, transform=self.figure.dpi_scale_trans, parse_math=False, **style
        )

    def paste(self, left: float, bottom: float, pixels: np.ndarray) -> None:
        """Paste pixels, uint8 RGB, with a frame around them."""
        self.blocks.append((left, bottom, pixels))

    def tick(self, x: float, y: float, dx: float, dy: float) -> None:
        """Draw a short line."""
        self.ticks.append([(x, y), (x + dx, y + dy)])

    def rendered(self) -> np.ndarray:
        """Return the page as pixels, uint8 RGB."""
        lines = LineCollection(
            self.ticks, colors="0.25", linewidths=0.7, transform=self.figure.dpi_scale_trans
        )
        self.figure.add_artist(lines)
        page = drawn(self.figure)
        for left, bottom, pixels in self.blocks:
            rows, columns = pixels.shape[:2]
            y, x = round((self.height - bottom) * DPI) - rows, round(left * DPI)
            page[y - 1 : y + rows + 1, x - 1 : x + columns + 1] = FRAME
            page[y : y + rows, x : x + columns] = pixels
        return page


def drawn(figure: Figure) -> np.ndarray:
    """A figure as pixels, uint8 RGB."""
    canvas = FigureCanvasAgg(figure)
    with _LOCK:
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def picture(name: str, page: np.ndarray, upper: float) -> Picture:
    """A page (uint8 RGB) as a file; the thumbnail shows its `upper` inches."""
    top = page[: round(upper * DPI)]
    return Picture(name, _png(Image.fromarray(page)), _thumbnail(Image.fromarray(top)))


def _thumbnail(image: Image.Image) -> str:
    """The picture in 64 colours, as wide as the limit allows, base64."""
    width = min(image.width, THUMBNAIL_WIDTH)
    while True:
        small = image.resize((width, max(1, round(image.height * width / image.width))), Image.Resampling.BOX)
        text = base64.b64encode(_png(small.quantize(64, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)))
        if len(text) <= THUMBNAIL_BASE64_BYTES or width < 64:
            return text.decode()
        width = int(width * 0.97 * (THUMBNAIL_BASE64_BYTES / len(text)) ** 0.5)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png", compress_level=2)
    return buffer.getvalue()
