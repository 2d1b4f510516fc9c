"""Take the parameters and texts of each command's form and flags from its verb or chain, where they are written once.

A verb's declaration is read from its source, because importing numba and zarr takes longer than `--help` may.
"""

import ast
import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

import tasks.parameters
from flows.names import source_of
from tasks.parameters import DeploymentName, MaxActive

# Parameters that flows give a verb or a chain, and users do not.
INTERNAL = frozenset(
    {"compute", "following", "limits", "publisher", "report", "say", "stages", "stopping", "verify", "waits"}
)
_ENTRY = re.compile(r"^    (\w+): (.*(?:\n {5,}.*)*)", re.MULTILINE)
_SECTION = re.compile(r"^(?:Args|Returns|Raises):\n", re.MULTILINE)


@functools.cache
def declared(verb: str) -> Callable[..., Any]:
    """Return a function without a body that has the parameters and the docstring of a verb, which is not imported."""
    path = source_of(verb)
    (node,) = (
        node
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name == verb
    )
    arguments = node.args
    keywords = [
        pair
        for pair in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if pair[0].arg not in INTERNAL
    ]
    arguments.kwonlyargs, arguments.kw_defaults = (
        [pair[0] for pair in keywords],
        [pair[1] for pair in keywords],
    )
    node.decorator_list, node.returns, node.body = [], None, node.body[:1]
    namespace = dict(vars(tasks.parameters))
    exec(compile(ast.Module([node], []), path, "exec"), namespace)
    function: Callable[..., Any] = namespace[verb]
    return function


def public(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a verb or a chain without the parameters that users do not give."""
    signature = inspect.signature(function)
    kept = [parameter for parameter in signature.parameters.values() if parameter.name not in INTERNAL]
    return signature.replace(parameters=kept)


def like(base: Callable[..., Any], *without: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that gives a function the parameters of another one, with their help texts.

    Parameters that only the function has follow the required ones. It is called with all of them by name.

    Args:
        base: The verb or chain.
        *without: Parameters of `base` that the function does not have.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        theirs = [p for name, p in inspect.signature(base).parameters.items() if name not in without]
        known = {parameter.name for parameter in theirs}
        own = inspect.signature(function).parameters.values()
        added = [p for p in own if p.name not in known and p.kind is not p.VAR_KEYWORD]
        required = [parameter for parameter in theirs if parameter.default is parameter.empty]
        signature = inspect.Signature([*required, *added, *theirs[len(required) :]])

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            return function(**bound.arguments)

        call.__signature__ = signature  # type: ignore[attr-defined]
        call.__doc__ = _docstring(function if function.__doc__ else base, _texts(base) | _texts(function))
        return call

    return decorate


def documented(function: Callable[..., Any]) -> str:
    """Return the docstring of a verb or a chain without the parameters and sections that are not for users."""
    texts = _texts(function)
    names = [name for name in public(function).parameters if name in texts]
    return _docstring(function, {name: texts[name].removesuffix(".") for name in names})


def _texts(function: Callable[..., Any]) -> dict[str, str]:
    """Return the description of each argument from a function's docstring."""
    _, *sections = _SECTION.split(inspect.getdoc(function) or "")
    return {name: " ".join(text.split()) for name, text in _ENTRY.findall(sections[0] if sections else "")}


def _docstring(function: Callable[..., Any], texts: dict[str, str]) -> str:
    head = _SECTION.split(inspect.getdoc(function) or "")[0]
    return "\n".join((f"{head}Args:", *(f"    {name}: {text}" for name, text in texts.items())))


@like(declared("sweep"))
def sweep(deployment: DeploymentName = "", max_active: MaxActive = 4) -> None:
    """Publish every new SEG-Y and every new scan under a staging prefix, and skip unchanged ones.

    A file that cannot be published is quarantined with a sentence and stays in place. Run it again at any time.

    Args:
        deployment: publish/NAME, which publishes each source; {size} stands for s, m or l. Empty: publish in this run
        max_active: Most runs of the deployment under way at once
    """
