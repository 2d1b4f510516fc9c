"""Whoever may trigger a run can change its size and its labels, and nothing else, on every type of pool.

What each type of worker makes of its template is looked at with the worker's own code, where that is installed, and
held against what the platform takes; no platform is asked.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import pytest
import yaml
from prefect.utilities.schema_tools import ValidationError, validate

from flows.registration import DEPLOYMENTS, POOLS, deployments_in, pool_name, pool_types, template_of
from tasks.volume.outcomes import InputRefused

KINDS = pool_types()
CONTAINERS = [kind for kind in KINDS if kind != "process"]
DIGEST = "registry.example/seismill@sha256:" + 64 * "a"
# A value for every name that a template asks for.
VALUES = {
    name: f"the-{name.removeprefix('SEISMILL_').lower().replace('_', '-')}"
    for file in POOLS.glob("*.json")
    for name in re.findall(r"\$\{([A-Z0-9_]+)\}", file.read_text())
} | {"SEISMILL_IMAGE": DIGEST, "SEISMILL_STAGING": "s3://staging", "SEISMILL_VOLUMES": "s3://volumes"}
YAML = yaml.safe_load(DEPLOYMENTS.read_text())["deployments"]
# The entrypoint of the image, which some platforms replace by the command.
STARTED_BY = ["/usr/bin/tini", "-g", "--", "/opt/prefect/entrypoint.sh"]
MAY_CHANGE = {"cpu", "memory", "scratch", "timeout_seconds", "labels"}


def template(kind: str) -> dict[str, Any]:
    return template_of(kind, VALUES)


# The templates


def test_there_is_a_template_for_every_type_of_pool_that_a_deployment_names():
    assert {deployment["work_pool"]["name"] for deployment in YAML} == {pool_name(kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_only_sizes_and_labels_are_variables(kind):
    variables = template(kind)["variables"]
    assert set(variables["properties"]) <= MAY_CHANGE
    # Without this a worker would merge an `env` given with a run into the fixed one (prefect.workers.base).
    assert variables["additionalProperties"] is False
    used = set(re.findall(r"\{\{ *([^} ]+) *\}\}", json.dumps(template(kind)["job_configuration"])))
    assert used == set(variables["properties"])
    validate({}, variables, raise_on_error=True, preprocess=True)  # and each has a default that fits


ATTEMPTS = {
    "image": "evil",
    "command": "sh -c id",
    "env": {"PYTHONPATH": "/tmp"},
    "env.PYTHONPATH": "/tmp",
    "entrypoint": "/bin/sh",
    "volumes": ["/:/host"],
    "network_mode": "host",
    "networks": ["other"],
    "privileged": True,
    "container_create_kwargs": {"read_only": False},
    "registry_credentials": {},
    "working_dir": "/",
    "namespace": "kube-system",
    "service_account_name": "admin",
    "cluster_config": {},
    "job_manifest": {},
    "task_definition": {},
    "task_definition_arn": "arn",
    "task_role_arn": "arn",
    "execution_role_arn": "arn",
    "network_configuration": {},
    "job_body": {},
    "args": ["x"],
    "credentials": {},
    "arm_template": {},
    "identities": ["other"],
    "subnet_ids": ["other"],
    "stream_output": False,
    "name": "other",
    "labels.x": "y",
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
@pytest.mark.parametrize("kind", KINDS)
def test_everything_else_is_refused_by_the_server_s_own_check(kind, attempt):
    with pytest.raises(ValidationError, match="Additional properties are not allowed"):
        validate(
            {attempt: ATTEMPTS[attempt]}, template(kind)["variables"], raise_on_error=True, preprocess=True
        )


@pytest.mark.parametrize(
    ("kind", "variables"),
    [
        ("docker", {"memory": "4g --privileged"}),
        ("kubernetes", {"cpu": "2, x"}),
        ("kubernetes", {"memory": "4"}),
        ("kubernetes", {"timeout_seconds": 60}),
        ("ecs", {"cpu": 3}),
        ("cloud-run-v2", {"timeout_seconds": 700000}),
        ("azure-container-instance", {"cpu": 64}),
    ],
)
def test_a_size_that_the_platform_has_not_is_refused(kind, variables):
    with pytest.raises(ValidationError):
        validate(variables, template(kind)["variables"], raise_on_error=True, preprocess=True)


@pytest.mark.parametrize("deployment", YAML, ids=lambda deployment: deployment["name"])
def test_the_job_variables_of_every_deployment_fit_its_pool(deployment):
    pool = deployment["work_pool"]
    kind = next(kind for kind in KINDS if pool_name(kind) == pool["name"])
    validate(pool.get("job_variables", {}), template(kind)["variables"], raise_on_error=True, preprocess=True)


def test_a_value_that_is_missing_is_named():
    with pytest.raises(
        InputRefused, match="the pool 'kubernetes' needs SEISMILL_ALLOW, SEISMILL_NAMESPACE; set"
    ):
        template_of("kubernetes", {"SEISMILL_IMAGE": DIGEST, "SEISMILL_ALLOW": ""})
    with pytest.raises(
        InputRefused, match="the deployments need SEISMILL_STAGING, SEISMILL_VOLUMES; set them"
    ):
        deployments_in(["docker"], {})
    with pytest.raises(
        InputRefused, match="there is no pool template 'lambda'; there are azure-container-instance"
    ):
        template_of("lambda", VALUES)


@pytest.mark.parametrize(
    "image", ["seismill", "seismill:latest", "seismill@sha256:abc", "registry/seismill:1.0"]
)
def test_an_image_is_named_by_its_digest(image):
    with pytest.raises(InputRefused, match="wanted name@sha256:"):
        template_of("docker", VALUES | {"SEISMILL_IMAGE": image})


def test_what_runs_in_this_machine_s_processes_needs_no_values():
    assert template_of("process", {})["job_configuration"]["env"] == {
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "tasks",
    }
    assert {"publish", "sweep"} <= set(deployments_in(["process"], {}))


@pytest.mark.parametrize("kind", CONTAINERS)
def test_runs_in_containers_get_the_file_of_prices(kind):
    template = template_of(kind, VALUES | {"SEISMILL_PRICES": "/run/seismill/prices.json"})
    env = template["job_configuration"]["env"]
    given = {entry["name"]: entry.get("value") for entry in env} if isinstance(env, list) else env
    assert given["SEISMILL_PRICES"] == "/run/seismill/prices.json"


# What a worker makes of them


@contextmanager
def ambient_google_identity() -> Iterator[None]:
    """While open, Google's library finds an identity, as it does on a worker; it is never used."""
    identity = {"type": "authorized_user", "client_id": "x", "client_secret": "x", "refresh_token": "x"}
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as environment:
        (Path(folder) / "identity.json").write_text(json.dumps(identity))
        environment.setenv("GOOGLE_APPLICATION_CREDENTIALS", f"{folder}/identity.json")
        environment.setenv("GOOGLE_CLOUD_PROJECT", "a-project")
        yield


def configured(kind: str, variables: dict[str, Any]) -> tuple[Any, dict[str, str]]:
    """The job as its worker would start it, and its environment."""
    from prefect.client.schemas.objects import Flow, FlowRun

    modules = {
        "docker": ("prefect_docker.worker", "DockerWorkerJobConfiguration"),
        "kubernetes": ("prefect_kubernetes.worker", "KubernetesWorkerJobConfiguration"),
        "ecs": ("prefect_aws.workers.ecs_worker", "ECSJobConfiguration"),
        "cloud-run-v2": ("prefect_gcp.workers.cloud_run_v2", "CloudRunWorkerJobV2Configuration"),
        "azure-container-instance": (
            "prefect_azure.workers.container_instance",
            "AzureContainerJobConfiguration",
        ),
    }
    module, name = modules[kind]
    configuration_class = getattr(pytest.importorskip(module), name)
    run = FlowRun(id=uuid4(), name="a-run", flow_id=uuid4())
    with ambient_google_identity():
        configuration_of_job = configuration_class.from_template_and_values(
            template(kind), variables, client=object()
        )
        configuration = asyncio.run(configuration_of_job)
        configuration.prepare_for_flow_run(run, flow=Flow(id=run.flow_id, name="publish"))
    env = configuration.env
    return configuration, env if isinstance(env, dict) else {
        variable["name"]: variable["value"] for variable in env
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", CONTAINERS)
def test_every_container_is_given_back_on_sigterm_and_keeps_its_own_places(kind):
    _, env = configured(kind, {})
    assert env["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == "reschedule"
    # A worker hands on its own PREFECT_HOME, which need not exist in the container.
    assert env["PREFECT_HOME"].startswith("/var/lib/seismill/")
    assert env["SEISMILL_ALLOW"] == VALUES["SEISMILL_ALLOW"]
    assert env["PREFECT_LOGGING_EXTRA_LOGGERS"] == "tasks"


def test_a_docker_container_has_a_read_only_root_and_no_rights():
    configuration, _ = configured("docker", {"memory": "2g", "labels": {"who": "me"}})
    assert (configuration.image, configuration.mem_limit) == (DIGEST, "2g")
    assert configuration.labels["who"] == "me"
    kwargs = configuration.container_create_kwargs
    assert (kwargs["user"], kwargs["read_only"], kwargs["cap_drop"]) == ("1000:1000", True, ["ALL"])
    assert not configuration.privileged
    assert configuration.command == "prefect flow-run execute"
    assert kwargs.keys().isdisjoint(type(configuration).model_fields)  # the worker drops those


def test_a_kubernetes_job_is_valid_restricted_and_not_retried_by_the_cluster():
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    configuration, _ = configured("kubernetes", {"cpu": "8", "memory": "16Gi", "timeout_seconds": 604800})
    job = configuration.job_manifest
    kubernetes_validate.validate(job, "1.31", strict=True)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["activeDeadlineSeconds"] == 604800
    assert pod["terminationGracePeriodSeconds"] >= 30
    assert container["args"] == ["prefect", "flow-run", "execute"]
    assert container["image"] == DIGEST
    assert container["resources"]["requests"] == {"cpu": "8", "memory": "16Gi", "ephemeral-storage": "2Gi"}
    assert_restricted(pod)
    names = [variable["name"] for variable in container["env"]]
    assert len(names) == len(set(names))


def assert_restricted(pod: dict[str, Any]) -> None:
    """Hold a pod to the `restricted` Pod Security Standard, and to a read-only root beyond that."""
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    security = pod["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert not container["securityContext"].get("privileged")
    for volume in pod.get("volumes", []):
        assert volume.keys() - {"name"} <= {"configMap", "emptyDir", "projected", "secret", "downwardAPI"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_ecs_task_is_what_its_api_takes(monkeypatch):
    worker_module = pytest.importorskip("prefect_aws.workers.ecs_worker")
    import boto3
    from botocore.validate import ParamValidator
    from prefect.client.schemas.objects import FlowRun

    configuration, _ = configured("ecs", {"cpu": 8192, "memory": 16384, "scratch": 32})
    worker = worker_module.ECSWorker(work_pool_name="ecs")
    run = FlowRun(id=uuid4(), name="a-run", flow_id=uuid4())
    definition = worker._prepare_task_definition(configuration, "eu-west-1", run)
    request = worker._prepare_task_run_request(configuration, definition, "arn:aws:ecs:x", True)
    service = boto3.client(
        "ecs", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    ).meta
    for operation, given in (("RegisterTaskDefinition", definition), ("RunTask", request)):
        shape = service.service_model.operation_model(operation).input_shape
        report = ParamValidator().validate(given, shape)
        assert not report.has_errors(), report.generate_report()
    (container,) = definition["containerDefinitions"]
    assert (definition["cpu"], definition["memory"]) == ("8192", "16384")
    assert (container["image"], container["readonlyRootFilesystem"], container["user"]) == (
        DIGEST,
        True,
        "1000:1000",
    )
    assert container["stopTimeout"] >= 30
    assert container["secrets"] == [
        {"name": "PREFECT_API_AUTH_STRING", "valueFrom": VALUES["SEISMILL_ECS_AUTH_SECRET_ARN"]}
    ]
    assert request["capacityProviderStrategy"] == [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
    (override,) = request["overrides"]["containerOverrides"]
    assert override["command"] == ["prefect", "flow-run", "execute"]
    assert request["enableExecuteCommand"] is False


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_cloud_run_job_is_what_its_api_takes():
    configuration, _ = configured("cloud-run-v2", {"cpu": "8", "memory": "16Gi", "timeout_seconds": 604800})
    import googleapiclient

    documents = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
    schemas = json.loads((documents / "run.v2.json").read_text())["schemas"]
    refuse_unknown(configuration.job_body, schemas["GoogleCloudRunV2Job"], schemas, "job")
    inner = configuration.job_body["template"]["template"]
    assert (inner["timeout"], inner["maxRetries"]) == ("604800s", 0)  # not the default of 600 s
    assert inner["containers"][0]["command"] == [*STARTED_BY, "prefect", "flow-run", "execute"]
    assert inner["containers"][0]["image"] == DIGEST


def refuse_unknown(value: Any, schema: dict[str, Any], schemas: dict[str, Any], where: str) -> None:
    """Fail where a value has a key that its discovery schema does not have."""
    schema = schemas[schema["$ref"]] if "$ref" in schema else schema
    if isinstance(value, list):
        for inner in value:
            refuse_unknown(inner, schema["items"], schemas, f"{where}[]")
    elif isinstance(value, dict) and "properties" in schema:
        for key, inner in value.items():
            assert key in schema["properties"], f"{where}.{key}"
            refuse_unknown(inner, schema["properties"][key], schemas, f"{where}.{key}")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_an_azure_container_group_has_only_properties_that_its_api_knows():
    configuration, env = configured("azure-container-instance", {"cpu": 4, "memory": 16})
    # az:// names no account, and of an identity that a user assigned azure-identity wants the client.
    assert env["AZURE_STORAGE_ACCOUNT_NAME"] == VALUES["SEISMILL_AZURE_ACCOUNT"]
    assert env["AZURE_CLIENT_ID"] == VALUES["SEISMILL_ACI_CLIENT_ID"]
    from azure.mgmt.containerinstance import models

    group = configuration.arm_template["resources"][0]["properties"]
    known = {path.removeprefix("properties.").replace("\\.", ".") for path in keys_of(models.ContainerGroup)}
    assert group.keys() <= known
    (container,) = group["containers"]
    inside = {path.removeprefix("properties.") for path in keys_of(models.Container)}
    assert container["properties"].keys() <= inside
    assert container["properties"]["securityContext"].keys() <= set(keys_of(models.SecurityContextDefinition))
    assert container["properties"]["command"] == [
        "/usr/bin/tini",
        STARTED_BY[-1],
        "prefect",
        "flow-run",
        "execute",
    ]
    assert container["properties"]["resources"]["requests"] == {"cpu": 4, "memoryInGB": 16}
    assert group["restartPolicy"] == "Never"


def keys_of(model: Any) -> list[str]:
    return [attribute["key"] for attribute in model._attribute_map.values()]


def test_what_the_server_would_let_pass_changes_nothing_that_is_fixed():
    attempts = {name: value for name, value in ATTEMPTS.items() if name not in ("stream_output", "labels.x")}
    tried, env = configured("kubernetes", attempts)
    plain, _ = configured("kubernetes", {})
    assert (tried.namespace, tried.cluster_config) == (plain.namespace, None)
    assert "PYTHONPATH" not in env
    pods = [job.job_manifest["spec"]["template"]["spec"] for job in (tried, plain)]
    for pod in pods:
        pod["containers"][0].pop("env")  # names the flow run
    assert pods[0] == pods[1]
