"""Parse the text of a file's headers: depth or time, units, EPSG code.

People write this text, so a clear statement counts, the processing history counts only together with other evidence,
and the depth of water, sources or cables does not count.
"""

import re
from dataclasses import dataclass

_LENGTH = r"(?:M|MTRS?|METERS?|METRES?|FT|FEET|FOOT)"
# Between what is measured and its number or unit.
_WHAT = r"\s*(?:INTERVAL|INT|RATE|PERIOD|UNITS?|STEP|INCREMENT|SPACING|AXIS|DOMAIN)\b\s*(?:IS\s+|IN\s+)?[:=(]*\s*\(?"
_SAMPLE = rf"\b(?:SAMPLE|SAMPLING)(?:{_WHAT}|\s*[:=(]+\s*)\d*\.?\d*\s*"
_STEP = rf"\b(?:SAMPLE|SAMPLING|VERTICAL|Z|DEPTH){_WHAT}\d*\.?\d*\s*"
_OTHER_DEPTHS = re.compile(
    r"\b(?:WATER|SEA ?BED|SEA|SOURCE|CABLE|STREAMER|GUN|AIR ?GUN|ARRAY|RECEIVER|SENSOR|SHOT|HOLE|GROUP|CHARGE|"
    r"UPHOLE|TOW(?:ING)?|GEOPHONE|HYDROPHONE|BIT|PENETRATION)S?(?:\s+AND\s+\w+)?[\s:/_-]*DEPTHS?\b|"
    r"\bDEPTHS?\s+(?:OF|BELOW)\s+(?:THE\s+)?\w+"
)
_CLEAR_DEPTH = [
    re.compile(pattern)
    for pattern in (
        r"\bDOMAIN\s*[:=]?\s*(?:IS\s+|IN\s+)?DEPTH\b",
        r"\bDEPTH[\s-]+DOMAIN\b",
        r"\b(?:CONVERTED|STRETCHED|SCALED)\s+(?:IN)?TO\s+DEPTH\b",
        r"\bDEPTH[\s-]+CONVER(?:TED|SION)\b(?!\s+(?:BACK\s+)?TO\s+(?:TWO[\s-]WAY\s+)?TIME)",
        r"\bDEPTH\s+(?:VOLUMES?|CUBES?|SECTIONS?|STACKS?|DATA|IMAGES?|SLICES?|SAMPLES?|STEP|INTERVAL|SAMPLING|INCREMENT|"
        r"RANGE|AXIS|SEISMIC|LINE)\b",
        rf"\bDEPTHS?\s*(?:UNITS?|IN)?\s*[:=(]?\s*(?:IN\s+)?{_LENGTH}\b",
        rf"(?:{_SAMPLE}|{_STEP}){_LENGTH}\b",
        r"\b(?:DATA|SAMPLES|SECTION|VOLUME|CUBE|TRACES)\s+(?:IS\s+|ARE\s+)?IN\s+DEPTH\b",
        r"\bTVD(?:SS|MSL)?\b",
    )
]
_CLEAR_TIME = [
    re.compile(pattern)
    for pattern in (
        r"\bDOMAIN\s*[:=]?\s*(?:IS\s+|IN\s+)?(?:TWO[\s-]WAY[\s-]+)?TIME\b",
        r"\bTIME[\s-]+DOMAIN\b",
        r"\b(?:CONVERTED|STRETCHED|SCALED)\s+(?:BACK\s+)?(?:IN)?TO\s+(?:TWO[\s-]WAY\s+)?TIME\b",
        r"\bDEPTH[\s-]+TO[\s-]+TIME\b",
        r"\bTIME\s+(?:VOLUMES?|CUBES?|SECTIONS?|STACKS?|IMAGES?|SLICES?|SAMPLES?|STEP|INTERVAL|RANGE|AXIS)\b",
        rf"{_SAMPLE}(?:MS|MSECS?|MILLI\w*|US|USECS?|MICRO\w*|SECS?|SECONDS?)\b",
        r"\bTWT\b",
        r"\bTWO[\s-]WAY[\s-]+(?:TRAVEL[\s-]*)?TIME\b",
    )
]
_ANY_DEPTH = re.compile(r"\b(?:DEPTH|P(?:RE)?SDM)\b")
_FEET = re.compile(r"(?:FT|FEET|FOOT)$")
_DEPTH_UNIT = re.compile(rf"(?:{_SAMPLE}|{_STEP}|\bDEPTHS?\s*(?:IN\s+)?[:=(]*\s*)({_LENGTH})\b")
_EPSG = re.compile(
    r"\bEPSG(?:[\s_-]*(?:CODE|ID|NUMBER|NO|SRID))*[\s:=#.(]*(?:\d\.\d+(?:\.\d+)*:+)?(\d{4,6})\b"
)


@dataclass(frozen=True)
class TextEvidence:
    """The sample axis according to a text.

    Attributes:
        depth: Words that state depth clearly.
        time: Words that state time clearly.
        hint: A word that may mean depth.
        unit: Unit of depth, m or ft.
    """

    depth: str = ""
    time: str = ""
    hint: str = ""
    unit: str = ""


def evidence_in(text: str) -> TextEvidence:
    """Return what the lines of a text header state about the sample axis."""
    lines = [" ".join(re.sub(r"^C\s?\d+", "", line.upper()).split()) for line in text.splitlines()]
    own = [_OTHER_DEPTHS.sub(" | ", line) for line in lines]
    unit = _first([_DEPTH_UNIT], own, group=1)
    return TextEvidence(
        depth=_first(_CLEAR_DEPTH, own),
        time=_first(_CLEAR_TIME, own),
        hint=_first([_ANY_DEPTH], own),
        unit=("ft" if _FEET.match(unit) else "m") if unit else "",
    )


def epsg_codes(text: str) -> tuple[int, ...]:
    """Return the different EPSG codes that a text names, in its order."""
    return tuple(dict.fromkeys(int(code) for code in _EPSG.findall(text.upper())))


def _first(patterns: list[re.Pattern[str]], lines: list[str], group: int = 0) -> str:
    matches = (match for pattern in patterns for line in lines if (match := pattern.search(line)))
    return next((match[group].strip(" :=(") for match in matches), "")
