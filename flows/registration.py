"""Register work pools, deployments and automations on a Prefect server, from their files.

infra/pools/ holds a job template for each type of pool. It fixes image, command, environment, identity and security
context. Its schema has only sizes and labels, so these are all that a person who may trigger runs can change. Values
of the operator (image, cluster, role …) are in the templates as ${NAME} or ${NAME:-default}.
"""

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

import flows
from flows.api import connect
from flows.processes import python_module
from tasks.volume.outcomes import InputRefused, Outcome

ROOT = Path(flows.__file__).parents[1]
DEPLOYMENTS = ROOT / "deployments" / "prefect.yaml"
AUTOMATIONS = ROOT / "deployments" / "automations"
POOLS = ROOT / "infra" / "pools"
STAGING, VOLUMES = "SEISMILL_SWEEP_STAGING", "SEISMILL_SWEEP_VOLUMES"  # of sweeps on this machine
POOL = "seismill"  # of processes; others are called by their type

_NAME = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}")
_PLACEHOLDER = re.compile(r"\{\{ \$([A-Z][A-Z0-9_]*) \}\}")
_DIGEST = re.compile(r"^(localhost/\S+|\S+@sha256:[0-9a-f]{64})$")


class NotRegistered(Outcome):
    """The server refused a pool, a deployment or an automation."""


def pool_types() -> list[str]:
    """Return the types of pool that have a template."""
    return sorted(file.stem for file in POOLS.glob("*.json"))


def pool_name(kind: str) -> str:
    """Return the name of the pool of a type."""
    return POOL if kind == "process" else kind


def template_of(kind: str, values: Mapping[str, str]) -> dict[str, Any]:
    """Return the job template of a type of pool with the operator's values.

    Raises:
        InputRefused: There is no such template, a value is missing, or the image is not named by its digest.
    """
    file = POOLS / f"{kind}.json"
    if not file.exists():
        raise InputRefused(f"there is no pool template {kind!r}; there are {', '.join(pool_types())}")
    missing: list[str] = []
    template: dict[str, Any] = _filled(json.loads(file.read_text("utf-8")), values, missing)
    if missing:
        raise InputRefused(
            f"the pool {kind!r} needs {', '.join(sorted(set(missing)))}; set them in the environment "
            "(infra/env.example explains each)"
        )
    image = values.get("SEISMILL_IMAGE", "")
    if kind != "process" and not _DIGEST.match(image):
        raise InputRefused(
            f"SEISMILL_IMAGE is {image!r}, wanted name@sha256:… (a tag can move to another image, and workers of "
            "one run must have the same versions) or an image of this machine, localhost/…"
        )
    return template


def _filled(value: Any, values: Mapping[str, str], missing: list[str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(inner, values, missing) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, values, missing) for inner in value]
    if not isinstance(value, str):
        return value

    def given(match: re.Match[str]) -> str:
        name, default = match.groups()
        # An empty value is as good as none, as in a shell.
        if not values.get(name) and default is None:
            missing.append(name)
        return values.get(name) or default or ""

    return _NAME.sub(given, value)


def deployments_in(kinds: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """Return the name of every deployment whose pool has one of these types.

    Raises:
        InputRefused: A value that a deployment needs is missing.
    """
    pools = {pool_name(kind) for kind in kinds}
    chosen = [
        deployment
        for deployment in yaml.safe_load(DEPLOYMENTS.read_text("utf-8"))["deployments"]
        if deployment["work_pool"]["name"] in pools
    ]
    # Prefect would leave the placeholder itself as the parameter's value.
    wanted = {name for name in _PLACEHOLDER.findall(json.dumps(chosen)) if not values.get(name)}
    if wanted:
        raise InputRefused(f"the deployments need {', '.join(sorted(wanted))}; set them in the environment")
    return [deployment["name"] for deployment in chosen]


def register_all(kinds: Sequence[str]) -> None:
    """Register with the values of the environment, and print what was registered."""
    if not kinds:
        raise InputRefused(f"name the types of pool to register: {', '.join(pool_types())}")
    if connect(embedded=False) is None:
        raise InputRefused(
            "there is no Prefect server to register with; set PREFECT_API_URL to one that keeps running"
        )
    for line in register(kinds, os.environ):
        print(line)


def register(kinds: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """Register pools, deployments and automations from their files; return a line for each.

    Args:
        kinds: Types of pool, such as kubernetes.
        values: Environment variables that the operator sets, by name.

    Raises:
        InputRefused: A value is missing.
        NotRegistered: The server refuses.
    """
    templates = {kind: template_of(kind, values) for kind in kinds}
    names = deployments_in(kinds, values)
    at_once = _runs_at_once(values)
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate

    from flows.slots import limit_of

    limit = limit_of(values["SEISMILL_STAGING"]) if values.get("SEISMILL_STAGING") else ""
    parts = []
    with get_client(sync_client=True) as client:
        for kind, template in templates.items():
            pool = WorkPoolCreate(
                name=pool_name(kind),
                type=kind,
                base_job_template=template,
                description=f"Seismill on {kind}; changed by 'seismill register' only",
            )
            client.create_work_pool(pool, overwrite=True)
            parts.append(f"pool {pool_name(kind)} ({kind})")
        if limit:
            client.upsert_global_concurrency_limit_by_name(limit, at_once)
            parts.append(f"limit {limit}: {at_once} runs at a time")
    _deploy(names, values)
    if "process" in kinds:
        _give_defaults(values)
    parts += [f"deployment {name}" for name in names]
    return parts + _automate(values)


def _runs_at_once(values: Mapping[str, str]) -> int:
    given = values.get("SEISMILL_STAGING_RUNS") or "20"
    if not given.isdecimal() or not int(given):
        raise InputRefused(f"SEISMILL_STAGING_RUNS is {given!r}, wanted a number of runs, 1 or more")
    return int(given)


def _deploy(names: Sequence[str], values: Mapping[str, str]) -> None:
    """Register deployments from the current folder, where their relative paths start.

    The first is created last: the UI lists deployments from A to Z, or by `?sort=CREATED_DESC` the newest first.
    """
    command = python_module("flows.prefect_module", "prefect", "--no-prompt", "deploy")
    command += ["--prefect-file", str(DEPLOYMENTS)]
    for name in reversed(names):
        command += ["-n", name]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | values)
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-1].strip()
        raise NotRegistered(
            f"'prefect deploy' failed with {last!r}; {len(names)} deployments were to be made"
        )


def _give_defaults(values: Mapping[str, str]) -> None:
    """Give the sweep and the audit of this machine their prefixes, so that a schedule made in the UI has them."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentUpdate

    usual = {"staging": values.get(STAGING, ""), "volumes": values.get(VOLUMES, "")}
    if not all(usual.values()):
        return
    with get_client(sync_client=True) as client:
        for name, wanted in (("sweep", ("staging", "volumes")), ("audit", ("volumes",))):
            present = client.read_deployment_by_name(f"{name}/{name}")
            parameters = present.parameters | {parameter: usual[parameter] for parameter in wanted}
            client.update_deployment(present.id, DeploymentUpdate(parameters=parameters))


def automations() -> list[dict[str, Any]]:
    """Return the automations of the files, in the order of the file names."""
    return [yaml.safe_load(file.read_text("utf-8")) for file in sorted(AUTOMATIONS.glob("*.yaml"))]


def _automate(values: Mapping[str, str]) -> list[str]:
    """Register the automations of the files; return a line for each."""
    from prefect.client.orchestration import get_client
    from prefect.events.schemas.automations import AutomationCore
    from prefect.exceptions import ObjectNotFound

    slug, _, name = values.get("SEISMILL_NOTIFY", "").partition("/")
    parts = []
    with get_client(sync_client=True) as client:
        block = ""
        if slug:
            try:
                block = str(client.read_block_document_by_name(name, slug).id)
            except ObjectNotFound as error:
                raise InputRefused(
                    f"SEISMILL_NOTIFY names the block {slug}/{name}, which the server does not have; make it in the UI"
                ) from error
        for document in automations():
            wanted = AutomationCore.model_validate(with_notification(document, block))
            present = client.read_automations_by_name(wanted.name)
            if not present:
                client.create_automation(wanted)
            elif not _is_same(present[0], wanted):
                client.update_automation(present[0].id, wanted)
            parts.append(f"automation {wanted.name}")
    return [*parts, notifications(values)]


def notifications(values: Mapping[str, str]) -> str:
    """Return a line that says where the automations send notifications, from SEISMILL_NOTIFY."""
    count, block = len(automations()), values.get("SEISMILL_NOTIFY", "")
    if block:
        return f"notifications: {count} automations notify {block}"
    return (
        f"notifications: off, {count} automations act and notify nobody; set SEISMILL_NOTIFY to a notification block, "
        "such as slack-webhook/ops, and register again"
    )


def _is_same(present: BaseModel, wanted: BaseModel) -> bool:
    """Return whether an automation is as its file says; changing it, even to the same, would disarm it."""
    here, there = (model.model_dump(mode="json") for model in (wanted, present))
    return all(_without_numbers(there[key]) == _without_numbers(value) for key, value in here.items())


def _without_numbers(value: Any) -> Any:
    """Return a document without the numbers that a server gives to triggers; names of events are sets, in no order."""
    if isinstance(value, dict):
        return {key: _without_numbers(inner) for key, inner in value.items() if key != "id"}
    if not isinstance(value, list):
        return value
    return (
        sorted(value)
        if all(isinstance(inner, str) for inner in value)
        else [_without_numbers(v) for v in value]
    )


def with_notification(document: dict[str, Any], block: str) -> dict[str, Any]:
    """Return an automation whose `notify` actions use a notification block, or none without one."""
    actions = [
        action
        if action["type"] != "notify"
        else (
            action | {"type": "send-notification", "block_document_id": block}
            if block
            else {"type": "do-nothing"}
        )
        for action in document["actions"]
    ]
    return document | {"actions": actions}
