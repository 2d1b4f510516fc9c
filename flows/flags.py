"""The parameter models of `tasks.parameters` as flags of the command line.

A command is declared with the verb's own signature. Here its models are flattened: each field becomes a flag with
the field's type, default and description, under a heading of its model; the models are built again from the flags
that were given. Lists are separated by commas, as in MDIO: `--chunks 64,64,64`.
"""

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, get_args, get_origin

from cyclopts import Group, Parameter, Token
from pydantic import BaseModel, TypeAdapter, ValidationError

from flows.forms import DOES_NOTHING
from flows.help import OTHERS, shown_first
from flows.usage import UsageError, is_harmless
from tasks.parameters import Copy, Step, StorageOptions, Url

# A field's own name, except where it would say too little without its model, or is usual in another form.
_RENAMED = {"bytes": "index-bytes", "names": "index-names", "types": "index-types", "more": "copy"}
_STEPS = get_args(Step)
_STEP_TEXTS: dict[Step, str] = {
    "copies": "Make copies in other chunks, for fast slices",
    "pyramid": "Make coarser levels, for overviews",
    "report": "Make the report: an HTML page with pictures, beside the volume",
    "proof": "Stream the export through the checksums of the source; of images, compare each voxel",
}
_METAVARS = {
    list[int]: "INT,INT,…",
    list[float]: "NUMBER,NUMBER,…",
    list[str]: "NAME,NAME,…",
    list[Copy]: "NAME=INT,INT,…",
}


def flattened(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with URLs as arguments and a flag per model field, step and plain value.

    Raises (when called):
        UsageError: A value is not what its field takes; one sentence that names the flag.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def command(*args: Any, **flags: Any) -> Any:
        bound = signature.bind_partial(*args)  # and only what was given: defaults are the function's own
        for parameter in signature.parameters.values():
            if parameter.name in bound.arguments:
                bound.arguments[parameter.name] = _checked(parameter, bound.arguments[parameter.name])
            elif parameter.annotation == list[Step]:
                steps = [step for step in _STEPS if flags.get(f"step_{step}", step in parameter.default)]
                bound.arguments[parameter.name] = steps
            elif _is_model(parameter.annotation):
                bound.arguments[parameter.name] = _built(parameter.annotation, flags)
            elif parameter.name in flags:
                bound.arguments[parameter.name] = _checked(parameter, flags[parameter.name])
        return function(**bound.arguments)

    idle = DOES_NOTHING.get(function.__name__, ())
    del command.__wrapped__  # the flags are this function's signature, not the models
    command.__annotations__ = {}
    command.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=sorted(
            _once(
                flag.replace(
                    annotation=Annotated[flag.annotation, Parameter(show=False)]
                    if flag.name in idle
                    else shown_first(function.__name__, _flag_name(flag.name), flag.annotation)
                )
                for place, parameter in enumerate(signature.parameters.values())
                for flag in _flags(parameter, 10 * place)  # between them the models inside of a model
            ),
            key=lambda flag: flag.kind,
        )
    )
    return command


def _flags(parameter: inspect.Parameter, place: int) -> Iterator[inspect.Parameter]:
    if parameter.annotation == list[Step]:
        for step in _STEPS:
            text, group = _STEP_TEXTS[step], Group("Steps", sort_key=place)
            flag = Parameter(name=f"--{step}", help=text, group=group)
            yield _keyword(f"step_{step}", Annotated[bool, flag], step in parameter.default)
    elif _is_model(parameter.annotation):
        yield from _model_flags(parameter.annotation, place)
    elif _is_positional(parameter):
        yield parameter.replace(kind=inspect.Parameter.POSITIONAL_ONLY, annotation=str)
    else:
        is_list = get_origin(parameter.annotation) is list
        shown = Parameter(
            group=OTHERS,
            negative=(),
            show_default=parameter.default not in (False, []),
            converter=_split if is_list else None,
            n_tokens=1 if is_list else None,
            metavar="NAME,NAME,…" if is_list else None,
        )
        # Its limits are checked with it, so that every wrong value gets the same sentence.
        kind = parameter.annotation
        plain = kind.__origin__ if get_origin(kind) is Annotated else kind
        yield _keyword(parameter.name, Annotated[plain, shown], parameter.default)


def _once(flags: Iterable[inspect.Parameter]) -> list[inspect.Parameter]:
    """Return the flags without repeats: a flag of several models (--checksums) sets the field of each."""
    return list({flag.name: flag for flag in reversed(list(flags))}.values())[::-1]


def _model_flags(model: type[BaseModel], place: int) -> Iterator[inspect.Parameter]:
    title = model.model_config.get("title") or model.__name__
    group = Group(title, help=(model.__doc__ or "").split("\n")[0], sort_key=place)
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        if _is_model(kind):
            yield from _model_flags(kind, place + 1)
            continue
        is_list = get_origin(kind) is list
        choices = get_args(get_args(kind)[0]) if is_list else ()
        described = Parameter(
            name=_flag_name(name),
            help=(field.description or field.title or "") + (f" ({', '.join(choices)})" if choices else ""),
            group=group,
            negative=(),
            converter=(_copies if kind == list[Copy] else _split) if is_list else None,
            n_tokens=1 if is_list else None,
            metavar=_METAVARS.get(kind, "CHOICE,CHOICE,…" if choices else None),
            show_default=(lambda value: ",".join(map(str, value)))
            if is_list and field.default
            else bool(field.default),
        )
        # A list is checked with the rest of its model, so that every wrong value gets the same sentence.
        yield _keyword(name, Annotated[list[Any] if is_list else kind, described], field.default)


def _split(annotation: Any, tokens: Sequence[Token]) -> list[str]:
    return [text.strip() for token in tokens for text in token.value.split(",") if text.strip()]


def _copies(annotation: Any, tokens: Sequence[Token]) -> list[dict[str, Any]]:
    pairs = [token.value.partition("=") for token in tokens]
    for name, _, chunks in pairs:
        if not chunks:
            raise ValueError(f"got {name!r}, wanted a name and chunks, such as fast_inline=4,512,512")
    return [{"name": name, "chunks": chunks.split(",")} for name, _, chunks in pairs]


def _built(model: type[BaseModel], flags: dict[str, Any]) -> BaseModel:
    values = {name: flags[name] for name in model.model_fields if name in flags}
    if "more" in values:
        values.setdefault("presets", [])  # copies of one's own replace the usual ones
    nested: dict[str, Any] = {
        name: field.annotation for name, field in model.model_fields.items() if _is_model(field.annotation)
    }
    try:
        return model(**values, **{name: _built(inner, flags) for name, inner in nested.items()})
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        described = model.model_fields[name].description
        sentence = _sentence(_flag_name(name), described, error, secret=model is StorageOptions)
        raise UsageError(sentence) from error


def _checked(parameter: inspect.Parameter, value: Any) -> Any:
    try:
        return TypeAdapter(parameter.annotation).validate_python(value)
    except ValidationError as error:
        described = next(
            (field.description for field in get_args(parameter.annotation)[1:]), None
        )  # of an Annotated
        name = parameter.name.upper() if _is_positional(parameter) else _flag_name(parameter.name)
        raise UsageError(_sentence(name, described, error)) from error


def _sentence(name: str, description: str | None, error: ValidationError, *, secret: bool = False) -> str:
    first = error.errors(include_url=False)[0]
    got = (
        f"got {first['input']!r}"
        if is_harmless(first["input"]) and not secret
        else "what was given is not repeated"
    )
    if first["type"] == "string_pattern_mismatch" and description:  # a pattern says little to a person
        return f"{name}: {got}, wanted {description[0].lower()}{description[1:]}"
    return f"{name}: {got}; {first['msg'][0].lower()}{first['msg'][1:]}"


def _flag_name(field: str) -> str:
    words = re.sub(
        r"(?<=[a-z0-9])(?=[A-Z])", "-", _RENAMED.get(field, field)
    ).lower()  # MDIO's AutoChannelWrap too
    return f"--{words.replace('_', '-')}"


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _is_positional(parameter: inspect.Parameter) -> bool:
    return parameter.annotation == Url


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
