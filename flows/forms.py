"""The form of a flow: in which order Prefect's UI asks for parameters, and what it says of paths.

Prefect makes the form of the signature and the docstring. Both are those of the verb, but for what is here.
"""

import inspect
import re

from tasks.parameters import OptionalUrl, Url

# Places that a run cannot do without come first, then what is wanted of it (copies, steps, what is left out), then
# these in their order. What overrides a file's own headers, or the storage of the master, is last.
_LATE = ("pyramid", "update", "overwrite", "run", "storage_options", "seed", "index", "image", "master")
RELATIVE = "A relative path begins in the folder that `seismill up` names."


def form_signature(signature: inspect.Signature, left_out: tuple[str, ...]) -> inspect.Signature:
    """Return a signature in the order of the form.

    Args:
        signature: That of the verb or chain.
        left_out: Parameters that no run has.
    """

    def rank(parameter: inspect.Parameter) -> int:
        if parameter.default is parameter.empty:
            return -2
        return _LATE.index(parameter.name) if parameter.name in _LATE else -1

    asked = sorted((p for p in signature.parameters.values() if p.name not in left_out), key=rank)
    # By name alone but for the places: positions are those of the form, not of the verb.
    return signature.replace(
        parameters=[p if rank(p) == -2 else p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in asked]
    )


def form_docstring(docstring: str | None, signature: inspect.Signature) -> str:
    """Return a docstring whose arguments that are places say where a relative path begins."""
    text = inspect.cleandoc(docstring or "")
    for name, parameter in signature.parameters.items():
        if parameter.annotation in (Url, OptionalUrl):
            entry = re.compile(rf"^(    {name}: .*(?:\n {{5,}}\S.*)*)", re.MULTILINE)
            text = entry.sub(lambda match: f"{match[1].rstrip('.')}. {RELATIVE}", text, count=1)
    return text
