"""Define the commands of verbs and chains. Each is built on first use: most runs need one, and `--help` none.

The command line names them by their place in this module, `flows.commands:publish`, and has their texts from
[names.py](names.py); everything else of a command is built when the command is first used.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import Group, Parameter

from flows.command import carry_out, told_in_one_sentence
from flows.declarations import declared, documented, public
from flows.declarations import sweep as declared_sweep
from flows.flags import flattened
from flows.names import CHAINS, COMMANDS, VERBS

_OUTPUT = Group("Output", sort_key=9)
_FLAGS = {
    "json": Parameter(
        help="Print one JSON object as the last line of standard output", negative=(), show_default=False
    ),
    "debug": Parameter(help="Show the traceback of an error", negative=(), show_default=False),
    "flow": Parameter(help="Run as a Prefect flow, on the configured API or an embedded server"),
}


def function_of(name: str) -> Callable[..., Any]:
    """Return the function that a command runs, with its parameters and their help texts."""
    if name in VERBS:
        return declared(name)
    if name == "sweep":
        return declared_sweep
    from flows import chains

    function: Callable[..., Any] = getattr(chains, f"{name}_chain")
    return function


def __getattr__(name: str) -> Callable[..., int]:
    """Return the command of a verb or a chain."""
    if name not in COMMANDS:
        raise AttributeError(name)
    function, in_flow = function_of(name), name in CHAINS and name != "audit"

    def given(**parameters: Any) -> dict[str, Any]:
        return parameters

    given.__name__, given.__doc__ = name, documented(function)
    given.__signature__ = public(function)  # type: ignore[attr-defined]
    arguments = flattened(given)
    signature = inspect.signature(arguments)

    @functools.wraps(arguments)
    def command(
        *args: Any, json: bool = False, debug: bool = False, flow: bool = in_flow, **flags: Any
    ) -> int:
        parameters = arguments(*args, **flags)
        with told_in_one_sentence(debug=debug) as code:
            carry_out(name, parameters, flow=flow, as_json=json)
        return code()

    shown = [
        inspect.Parameter(
            flag,
            inspect.Parameter.KEYWORD_ONLY,
            default=in_flow if flag == "flow" else False,
            annotation=Annotated[bool, Parameter(group=_OUTPUT), described],
        )
        for flag, described in _FLAGS.items()
    ]
    command.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *shown])  # type: ignore[attr-defined]
    return command
