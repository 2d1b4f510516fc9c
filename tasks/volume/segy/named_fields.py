"""The index fields that a user names: which byte, type and name each has, and what a template adds to them."""

from tasks.parameters import HeaderType, Index, Overrides
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.headers import TRACE_HEADER_BYTES, word_bytes
from tasks.volume.segy.placement import Word
from tasks.volume.segy.templates import TEMPLATES, Template, quantity

_CABLE, _CHANNEL = "cable", "channel"


def asked(index: Index, *, header_bytes: int = TRACE_HEADER_BYTES) -> dict[str, Word] | None:
    """Return the index words that the user names, by name, slowest first; None if they are to be found in the file.

    Args:
        index: Index parameters of the user.
        header_bytes: Bytes of the headers of a trace, extensions included.

    Raises:
        InputRefused: The names, types or bytes do not go together, or words of the template have no byte.
    """
    if len(set(index.names)) != len(index.names):
        raise InputRefused(f"the names of index fields must differ, but are {', '.join(index.names)}")
    if index.bytes in ("auto", "trace") and index.types:
        raise InputRefused("index types are given without index bytes; name the bytes too, or leave both out")
    template = TEMPLATES.get(index.template)
    if index.bytes == "trace":
        if len(index.names) > 1 or (template and not template.name.startswith("PostStack2D")):
            what = template.name if template else f"the names {', '.join(index.names)}"
            raise InputRefused(
                f"traces in file order have one dimension, but {what} would make more; use PostStack2DTime or name "
                "index bytes"
            )
        return {}
    if index.bytes == "auto":
        if template is None or template.name.startswith("PostStack"):
            return None
        return _complete(template, {}, index.overrides)
    places = [int(byte) for byte in index.bytes.split(",")]
    if len(set(places)) != len(places):
        raise InputRefused(
            f"index bytes {index.bytes} name one byte twice; name different words, as in 189,193"
        )
    names = list(index.names) or _names(index, template, len(places))
    types = list(index.types) or ["int32"] * len(places)
    if index.overrides.CalculateCable:
        names, places, types = _with_cable(names, places, types)
    if len(names) != len(places):
        raise InputRefused(
            f"{len(names)} index names ({', '.join(names)}) are given for {len(places)} index bytes; give one for each"
        )
    if len(types) != len(places):
        raise InputRefused(
            f"{len(types)} index types are given for {len(places)} index bytes; give one for each"
        )
    words = {n: Word(n, byte, kind) for n, byte, kind in zip(names, places, types, strict=True)}
    for word in words.values():
        last = header_bytes - word_bytes(word.type) + 1
        calculated = word.byte == 0 and word.name == _CABLE and index.overrides.CalculateCable
        if not calculated and not 1 <= word.byte <= last:
            raise InputRefused(
                f"index byte {word.byte} is not in a trace header; {word.type} words start at bytes 1 to {last}"
            )
    return words if template is None else _complete(template, words, index.overrides)


def _with_cable(
    names: list[str], places: list[int], types: list[HeaderType]
) -> tuple[list[str], list[int], list[HeaderType]]:
    """Return names, bytes and types with a cable before the channel, which has no byte where it is calculated.

    MDIO's guide leaves the byte of the cable out and calls shot points shots.
    """
    names = ["shot_point" if name == "shot" and "shot_point" not in names else name for name in names]
    if _CABLE not in names and _CHANNEL in names and len(names) == len(places):
        names.insert(names.index(_CHANNEL), _CABLE)
    if _CABLE in names and len(names) == len(places) + 1:
        places = [*places[: names.index(_CABLE)], 0, *places[names.index(_CABLE) :]]
        if len(types) == len(names) - 1:
            types = [*types[: names.index(_CABLE)], "int32", *types[names.index(_CABLE) :]]
    return names, places, types


def _names(index: Index, template: Template | None, count: int) -> list[str]:
    """Return the names that bytes without names stand for."""
    if template is None:
        if count not in (1, 2):
            raise InputRefused(
                f"index bytes {index.bytes} are {count} words; say what they are with --index-names or --template"
            )
        return ["cdp"] if count == 1 else ["inline", "crossline"]
    needed = list(template.words)
    if count == len(needed) - 1 and "component" in needed:
        needed.remove("component")
    if count == len(needed) - 1 and _CABLE in needed and index.overrides.CalculateCable:
        needed.remove(_CABLE)
    if count != len(needed):
        raise InputRefused(
            f"index bytes {index.bytes} are {count} words, and {template.name} has {len(needed)}: "
            f"{', '.join(needed)}; name one for each, or some with --index-names"
        )
    return needed


def _complete(template: Template, words: dict[str, Word], overrides: Overrides) -> dict[str, Word]:
    """Return the template's words: as named, else where the standard has them."""
    extra = set(words) - template.names - set(overrides.non_binned_dims)
    if extra:
        raise InputRefused(
            f"{template.name} has no field {', '.join(sorted(extra))}; it has {', '.join(sorted(template.names))}; use "
            "another template, or none and all names"
        )
    standard = {name: quantity(name) for name in template.words}
    result = {name: words.get(name) or Word(name, its.byte, its.type) for name, its in standard.items()}
    built = {"cable"} if overrides.CalculateCable else set()
    missing = [name for name, entry in result.items() if not entry.byte and name not in built | {"component"}]
    if missing:
        raise InputRefused(
            f"{template.name} needs header bytes for {', '.join(missing)}, which the standard has no place for; give "
            f"them, such as --index-names {','.join(missing)} --index-bytes {','.join('…' for _ in missing)}"
        )
    return result | {name: word for name, word in words.items() if name not in result}
