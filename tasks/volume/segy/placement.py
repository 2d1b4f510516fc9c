"""The rule that turns header fields into cells of a volume: fields to read, dimensions, and coordinates.

A placement is a value that plans and volumes store. It combines the user's parameters with what was detected in the
file; code that reads headers, makes grids and stores coordinates needs nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.parameters import Index, Overrides
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.corrections import Corrections
from tasks.volume.segy.headers import word_bytes
from tasks.volume.segy.overrides import TRACE, overridden_dims, unchanged_words
from tasks.volume.segy.templates import CUSTOM, DOMAINS, TEMPLATES, Template, quantity, template_of

XY = ("cdp_x", "cdp_y")
_NONE, _UNCORRECTED = Overrides(), Corrections()


@dataclass(frozen=True)
class Word:
    """A word of the trace header; byte 0 stands for a word that files need not have and that is 1 in every trace."""

    name: str
    byte: int
    type: str = "int32"


@dataclass(frozen=True)
class Coordinate:
    """A coordinate that is no dimension: its header field, and the dimensions it varies along.

    `scaled` says that the scalar at byte 71 applies; `kind` is what it measures, `length`, `angle` or nothing.
    """

    name: str
    byte: int
    type: str
    dims: tuple[str, ...]
    dtype: str = "float64"
    scaled: bool = False
    kind: str = ""


@dataclass(frozen=True)
class Placement:
    """The rule that gives each trace its cell.

    Attributes:
        template: MDIO's name, or `Custom`.
        domain: Domain of the sample axis, time or depth.
        dims: Dimensions without the samples, slowest first, after overrides.
        words: Header words that place a trace.
        coordinates: Further header fields that are stored by name.
        overrides: Overrides that are applied to the words.
        chunks: Chunks of the template, one per dimension and the samples; () for those by rank.
        corrections: Corrections of the user, which replace header values.
    """

    template: str
    domain: str
    dims: tuple[str, ...]
    words: tuple[Word, ...]
    coordinates: tuple[Coordinate, ...] = ()
    overrides: Overrides = _NONE
    chunks: tuple[int, ...] = ()
    corrections: Corrections = _UNCORRECTED

    @property
    def compared(self) -> tuple[tuple[int, Word], ...]:
        """Dimension and word wherever the word itself is the index, so that headers can be checked against the grid."""
        plain = unchanged_words([word.name for word in self.words], self.overrides)
        return tuple(
            (self.dims.index(word.name), word)
            for word in self.words
            if word.name in plain and word.name in self.dims and word.byte
        )

    @property
    def direct(self) -> bool:
        """Return whether the words are the index, one for each dimension."""
        return len(self.compared) == len(self.dims)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "template": self.template,
            "domain": self.domain,
            "names": list(self.dims),
            "words": [[w.name, w.byte, w.type] for w in self.words],
            "coordinates": [
                [c.name, c.byte, c.type, list(c.dims), c.dtype, c.scaled, c.kind] for c in self.coordinates
            ],
            "overrides": given(self.overrides),
            "chunks": list(self.chunks),
            **self.corrections.to_json(),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Placement":
        """Return the inverse of `to_json`."""
        return cls(
            plain["template"],
            plain["domain"],
            tuple(plain["names"]),
            tuple(Word(*word) for word in plain["words"]),
            tuple(
                Coordinate(name, byte, kind, tuple(dims), *rest)
                for name, byte, kind, dims, *rest in plain["coordinates"]
            ),
            Overrides(**plain["overrides"]),
            tuple(plain["chunks"]),
            Corrections.from_json(plain),
        )


def given(overrides: Overrides) -> dict[str, Any]:
    """Return the overrides that are on and their parameters, as MDIO writes them."""
    return overrides.model_dump(exclude_defaults=True)


def place(
    index: Index, words: Mapping[str, Word], xy: Sequence[int] = (), *, template: str = ""
) -> Placement:
    """Return the placement by these header fields.

    Args:
        index: Index parameters of the user: template, domain, overrides.
        words: Header fields by name, slowest first, with coordinates of the template.
        xy: First bytes of X and Y; () for none.
        template: Template found in the file, used if the user names none.

    Raises:
        InputRefused: An override lacks what it needs, or the domain is not the template's.
    """
    kind = TEMPLATES.get(index.template) or TEMPLATES.get(template)
    domain = index.domain if index.domain != "auto" else (kind.domains[0] if kind else DOMAINS[0])
    if kind is None:
        calculated = index.overrides.AutoShotWrap or index.overrides.CalculateShotIndex
        kind = template_of(tuple(words), domain, calculated=calculated)
    if kind is not None and domain not in kind.domains:
        other = kind.name.removesuffix("Time") + domain.capitalize()
        if index.template != "auto" or other not in TEMPLATES:
            raise InputRefused(
                f"the template {kind.name} is not for the {domain} domain; use one that is, or leave the domain out"
            )
        kind = TEMPLATES[other]
    # Words of other names, or traces in their order, make a volume of that kind with dimensions of their own.
    named = kind if kind is not None and set(kind.words) <= set(words) else None
    dims = named.dims if named else tuple(words)
    extra = set(index.overrides.non_binned_dims)
    if dims:
        final, trace_chunk = overridden_dims(dims, list(words), index.overrides)
    else:
        dims = final = tuple(index.names) or (TRACE,)
        trace_chunk = None
    placing = [name for name in words if named is None or name in named.words or name in extra]
    return Placement(
        template=kind.name if kind else CUSTOM,
        domain=domain,
        dims=final,
        words=tuple(words[name] for name in placing),
        coordinates=_coordinates(named, words, placing, dims, final, xy, index),
        overrides=index.overrides,
        chunks=_chunks(named, dims, final, trace_chunk) if named and named.chunks else (),
        corrections=Corrections.of(index),
    )


def _coordinates(
    template: Template | None,
    words: Mapping[str, Word],
    placing: Sequence[str],
    dims: tuple[str, ...],
    final: tuple[str, ...],
    xy: Sequence[int],
    index: Index,
) -> tuple[Coordinate, ...]:
    """Return the coordinates to store by name, with the dimensions that remain of MDIO's."""
    wanted = dict(template.coordinates) if template else dict.fromkeys(XY, dims)
    if index.coordinate_bytes == "none":
        wanted = {name: along for name, along in wanted.items() if name in words}
    wanted |= dict.fromkeys(index.overrides.non_binned_dims, final)
    standard = dict.fromkeys(XY, 0) | dict(zip(XY, xy, strict=False))
    spans = [(words[name].byte, word_bytes(words[name].type)) for name in placing]
    taken = {b for first, width in spans for b in range(first, first + width)}
    coordinates = []
    for name, along in wanted.items():
        known = quantity(name)
        word = words.get(name) or Word(name, standard.get(name, known.byte), known.type)
        # Where the index lies there is no coordinate, unless it was said to be both.
        if not word.byte or (name not in words and taken & {*range(word.byte, word.byte + 4)}):
            continue
        # What varied along a dimension that is no more varies along all that are left.
        kept = tuple(dim for dim in final if dim in along) if set(along) <= set(final) else final
        as_float = word.type in ("float32", "ibm32") or name in index.overrides.non_binned_dims
        dtype = "float64" if as_float else known.dtype
        coordinates.append(Coordinate(name, word.byte, word.type, kept, dtype, known.scaled, known.kind))
    return tuple(coordinates)


def _chunks(
    template: Template, dims: tuple[str, ...], final: tuple[str, ...], trace: int | None
) -> tuple[int, ...]:
    """Return the template's chunks for the dimensions that remain."""
    of = dict(zip(dims, template.chunks, strict=False)) | {TRACE: trace or 1}
    return (*(of[dim] for dim in final), template.chunks[-1])
