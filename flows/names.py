"""Name the commands and read their texts from the sources, so that `--help` imports nothing of what they run."""

import re
import textwrap
from pathlib import Path

VERBS = (
    "audit",
    "copy",
    "export_ome",
    "export_segy",
    "info",
    "ingest_images",
    "ingest_segy",
    "make_image",
    "prove",
    "pyramid",
    "rechunk",
    "report",
    "scan",
    "verify",
)
CHAINS = ("publish", "migrate", "demo", "sweep", "audit")
COMMANDS = tuple(dict.fromkeys((*VERBS, *CHAINS)))
_FLOWS = Path(__file__).parent
# Those that no module of their own defines, in tasks/ or in flows/.
_ELSEWHERE = {"sweep": "declarations", "view": "viewing"}


def source_of(verb: str) -> Path:
    """Return the file of a verb."""
    return _FLOWS.parent / "tasks" / f"{verb}.py"


def text_of(name: str) -> str:
    """Return the text of a command without its arguments, read from the source."""
    if name in VERBS:
        path, function = source_of(name), name
    else:
        path = _FLOWS / f"{_ELSEWHERE.get(name, 'chains')}.py"
        function = name if name in _ELSEWHERE else f"{name}_chain"
    found = re.search(
        rf'^def {function}\(.*?"""(.*?)(?:\n    \w+:\n|""")', path.read_text("utf-8"), re.S | re.M
    )
    assert found is not None
    return textwrap.dedent(f"    {found[1]}").strip()
