"""The form of a flow in Prefect's UI: the order of its fields, and the text about relative paths.

Prefect generates the form from the signature and the docstring. Both are those of the verb, with the changes made here.
"""

import inspect
import re
from dataclasses import dataclass
from typing import Annotated, Any

from tasks.parameters import OptionalUrl, Run, StorageOptions, Url

# Places that a run cannot do without come first, then what is wanted of it (copies, steps, what is left out), then
# these in their order. What overrides a file's own headers, or the storage of the master, is last.
_LATE = ("pyramid", "update", "overwrite", "run", "storage_options", "seed", "index", "image", "master")
# Fields of the run, and of its stores, that do nothing in a verb: they are in neither its form nor its help, and taken
# from scripts and schedules that give them.
_OF_PLANS = frozenset({"accept_versions", "created_on"})
_OF_SOURCES = frozenset(name for name in StorageOptions.model_fields if name.startswith("source_"))
_OF_WRITING = frozenset({"storage_class", "accept_unconditional_writes"})
DOES_NOTHING: dict[str, frozenset[str]] = {
    "audit": _OF_PLANS | _OF_SOURCES | {"dry_run", "lock_wait"},
    "copy": _OF_SOURCES,
    "export_ome": _OF_PLANS | _OF_SOURCES | {"lock_wait"},
    "export_segy": _OF_PLANS | _OF_SOURCES | {"lock_wait"},
    "info": _OF_SOURCES | _OF_WRITING,
    "make_image": _OF_SOURCES,
    "prove": frozenset({"accept_versions"}),
    "pyramid": _OF_SOURCES,
    "rechunk": _OF_SOURCES,
    "report": _OF_PLANS | _OF_SOURCES | {"memory", "dask"},
    "scan": _OF_WRITING,
    "verify": _OF_PLANS,
    "view": _OF_SOURCES | _OF_WRITING,
}
RELATIVE = "A relative path begins in the folder that `seismill up` names."


@dataclass(frozen=True)
class _Without:
    """Hide fields of a model in a form; the model still accepts them."""

    fields: frozenset[str]

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> Any:
        schema = handler(core_schema)
        self._narrow(schema, handler)
        return schema

    def _narrow(self, schema: dict[str, Any], handler: Any) -> None:
        model = handler.resolve_ref_schema(schema)
        fields = model.get("properties", {})
        if idle := sorted(self.fields & set(fields)):
            for name in idle:
                del fields[name]
            # Parameters and schedules of before may hold them, and Prefect refuses what a schema does not know.
            model["patternProperties"] = {f"^({'|'.join(idle)})$": {}}
        if "storage_options" in fields:
            self._narrow({"$ref": _reference(fields["storage_options"])}, handler)


def _reference(schema: dict[str, Any]) -> str:
    return str(schema.get("$ref") or schema["allOf"][0]["$ref"])


def form_signature(signature: inspect.Signature, verb: str) -> inspect.Signature:
    """Return a signature in the order of the form.

    Args:
        signature: Signature of the verb or chain.
        verb: Name of the verb; fields of models that do nothing in it are left out.
    """
    idle = DOES_NOTHING.get(verb, frozenset())

    def rank(parameter: inspect.Parameter) -> int:
        if parameter.default is parameter.empty:
            return -2
        return _LATE.index(parameter.name) if parameter.name in _LATE else -1

    def narrowed(parameter: inspect.Parameter) -> inspect.Parameter:
        if not idle or parameter.annotation not in (Run, StorageOptions):
            return parameter
        return parameter.replace(annotation=Annotated[parameter.annotation, _Without(idle)])

    asked = sorted((narrowed(p) for p in signature.parameters.values()), key=rank)
    # By name alone but for the places: positions are those of the form, not of the verb.
    return signature.replace(
        parameters=[p if rank(p) == -2 else p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in asked]
    )


def form_docstring(docstring: str, signature: inspect.Signature) -> str:
    """Return a docstring that says, for each path argument, where a relative path begins."""
    for name, parameter in signature.parameters.items():
        if parameter.annotation in (Url, OptionalUrl):
            entry = re.compile(rf"^(    {name}: .*(?:\n {{5,}}\S.*)*)", re.MULTILINE)
            docstring = entry.sub(lambda match: f"{match[1].rstrip('.')}. {RELATIVE}", docstring, count=1)
    return docstring
