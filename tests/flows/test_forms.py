"""Forms as Prefect makes them of each deployment: places first, what is wanted next, overrides last."""

import inspect
from importlib import import_module
from typing import Any

import pytest
import yaml
from cyclopts import Parameter
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate

from flows import cli
from flows.forms import DOES_NOTHING
from flows.publish import publish
from tasks.parameters import Copies, Run, StorageOptions
from tests import ROOT

DEPLOYMENTS = yaml.safe_load((ROOT / "deployments/prefect.yaml").read_text())["deployments"]
ENTRYPOINTS = sorted({deployment["entrypoint"] for deployment in DEPLOYMENTS})
PLACES = ("source", "volume", "target", "staging", "volumes")
OVERRIDES = ("index", "image", "master")


def fields(entrypoint: str) -> list[tuple[str, dict[str, Any]]]:
    """The fields of a form, from the first to the last."""
    module, _, name = entrypoint.partition(":")
    schema = parameter_schema(getattr(import_module(module), name)).model_dump_for_openapi()
    return sorted(schema["properties"].items(), key=lambda field: field[1]["position"])


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_places_come_first_and_overrides_last(entrypoint):
    names = [name for name, _ in fields(entrypoint)]
    required = [name for name, field in fields(entrypoint) if "default" not in field]
    assert names[: len(required)] == required
    assert set(required) <= {*PLACES}
    last = [name for name in names if name in OVERRIDES]
    assert names[len(names) - len(last) :] == last
    if "overwrite" in names:
        assert set(names[names.index("overwrite") + 1 :]) <= {"run", *OVERRIDES}


def test_the_main_form_asks_for_quality_and_steps_before_the_rest():
    names = [name for name, _ in fields("flows.publish:publish")]
    assert names[:4] == ["source", "volume", "copies", "steps"]
    assert names[-3:] == ["index", "image", "master"]
    assert next(iter(Copies.model_json_schema()["properties"])) == "quality"


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_every_place_says_where_a_relative_path_begins(entrypoint):
    texts = {name: field.get("description", "") for name, field in fields(entrypoint)}
    places = {name for name in texts if name in PLACES}
    assert places
    for name in places:
        assert texts[name].endswith(". A relative path begins in the folder that `seismill up` names."), name
        assert len(texts[name]) > 70, name  # the verb's own words are there, too
    others = {name: text for name, text in texts.items() if name not in (*PLACES, "array", "explore", "file")}
    assert not [name for name, text in others.items() if "relative path" in text]


def test_arguments_go_to_the_parameters_of_their_names():
    with pytest.raises(TypeError, match="positional"):
        publish("a.sgy", "a.zarr", {"bytes": "189,193"})


def test_on_one_machine_the_deployments_that_people_start_come_first():
    here = [deployment["name"] for deployment in DEPLOYMENTS if deployment["work_pool"]["name"] == "seismill"]
    assert here[:4] == ["publish", "sweep", "scan", "verify"]


@pytest.mark.parametrize("entrypoint", [one for one in ENTRYPOINTS if one.partition(":")[2] in DOES_NOTHING])
def test_fields_that_do_nothing_are_in_neither_form_nor_help_and_taken_from_scripts_and_schedules(entrypoint):
    module, _, name = entrypoint.partition(":")
    schema = parameter_schema(getattr(import_module(module), name)).model_dump_for_openapi()
    models = {
        title: set(model["properties"])
        for title, model in schema["definitions"].items()
        if "properties" in model
    }
    shown = models.get("Run", set()) | models["StorageOptions"]
    known = (
        {*Run.model_fields, *StorageOptions.model_fields}
        if "Run" in models
        else {*StorageOptions.model_fields}
    )
    assert shown == known - DOES_NOTHING[name]
    flags = inspect.signature(cli.app[name.replace("_", "-")].default_command).parameters
    hidden = {
        flag
        for flag in flags
        if getattr(flags[flag].annotation, "__metadata__", [None])[-1] == Parameter(show=False)
    }
    assert hidden == DOES_NOTHING[name]
    run = {field: info.default for field, info in Run.model_fields.items() if field != "storage_options"}
    stores = {field: info.default for field, info in StorageOptions.model_fields.items()}
    given = {"run": run | {"storage_options": stores}} if "Run" in models else {"storage_options": stores}
    required = dict.fromkeys(schema["required"], "a.zarr")
    validate(required | given, schema, raise_on_error=True)
