"""The command line: flags become the verbs' parameters, outcomes become exit codes and one sentence.

Covers flows/command.py, flows/commands.py, flows/declarations.py, flows/flags.py, flows/names.py, flows/terminal.py,
flows/usage.py and tasks/parameters.py.
"""

import inspect
import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import numpy as np
import pytest
from pydantic import BaseModel

import tasks.parameters
from flows import cli
from flows.command import told_in_one_sentence
from flows.commands import function_of
from flows.declarations import declared, public
from flows.flags import flattened
from flows.names import CHAINS, COMMANDS, VERBS
from flows.stages import load_verb
from flows.usage import UsageError
from tasks.demo import make_survey
from tasks.parameters import Copies, Copy, Index, Levels, Master, Run, Step, StorageOptions, Url
from tasks.volume.outcomes import IntegrityFailure, Resumable
from tests.support.command import SEISMILL, seismill


@pytest.fixture
def survey(tmp_path: Path) -> Path:
    """A small IBM cube, with index bytes that `auto` finds."""
    path = tmp_path / "survey.sgy"
    make_survey(str(path), shape=(19, 13, 57))
    return path


# Declarations


@pytest.mark.parametrize("name", VERBS)
def test_what_is_read_of_a_verb_without_importing_it_is_what_python_makes_of_it(name):
    assert inspect.signature(declared(name)) == public(load_verb(name)).replace(
        return_annotation=inspect.Signature.empty
    )
    assert inspect.getdoc(declared(name)) == inspect.getdoc(load_verb(name))


@pytest.mark.parametrize("name", CHAINS)
def test_every_chain_has_the_parameters_and_defaults_of_its_flow(name):
    from importlib import import_module

    flow = getattr(import_module(f"flows.{name}"), name)
    flags, wanted = public(function_of(name)).parameters, inspect.signature(flow.fn).parameters
    assert {p.name: (p.default, unmarked(p.annotation)) for p in flags.values()} == {
        p.name: (p.default, unmarked(p.annotation)) for p in wanted.values()
    }


def unmarked(annotation: Any) -> Any:
    """The type of a parameter without what forms say of it."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def test_prefect_shows_at_most_eleven_fields_and_a_description_for_each():
    from importlib import import_module

    from prefect.utilities.callables import parameter_schema

    for command in COMMANDS:
        module = import_module(f"flows.{command}" if command in CHAINS else "flows.verbs")
        fields = parameter_schema(getattr(module, command).fn).properties
        assert len(fields) <= 11
        for name, field in fields.items():
            assert field.get("description"), f"{command} {name}"


MODELS = [
    one
    for one in vars(tasks.parameters).values()
    if inspect.isclass(one) and issubclass(one, BaseModel) and one.model_fields
]


def test_the_models_of_the_form_are_all_found():
    names = {
        "Copies",
        "Copy",
        "Export",
        "Form",
        "Image",
        "Index",
        "Levels",
        "Master",
        "Overrides",
        "Publication",
    }
    assert names | {"Raw", "Run", "StorageOptions"} <= {model.__name__ for model in MODELS}


@pytest.mark.parametrize("model", MODELS)
def test_every_field_of_a_model_has_a_title_and_a_description_for_the_form(model):
    for name, field in model.model_fields.items():
        assert field.title, name
        assert field.description, name


# Flags


@flattened
def parameters(
    source: Url,
    volume: Url = "v.zarr",
    index: Index = Index(),
    master: Master = Master(),
    copies: Copies = Copies(),
    pyramid: Levels = Levels(),
    steps: list[Step] = ["copies", "pyramid", "report", "proof"],  # noqa: B006
    fraction: float = 1.0,
    run: Run = Run(),
) -> dict[str, Any]:
    """Give back what was given.

    Args:
        source: From
        volume: To
        index: Where
        master: How
        copies: What
        pyramid: What
        steps: Which
        fraction: How much
        run: How
    """
    return dict(locals())


def parse(*words: str) -> dict[str, Any]:
    from cyclopts import App

    app = App(result_action="return_value")
    app.default(parameters)
    return app(list(words), exit_on_error=False, print_error=False)


def test_without_flags_the_parameters_are_the_defaults():
    given = parse("a.sgy")
    assert given.pop("source") == "a.sgy"
    assert given == {
        "volume": "v.zarr",
        "index": Index(),
        "master": Master(),
        "copies": Copies(),
        "pyramid": Levels(),
        "steps": ["copies", "pyramid", "report", "proof"],
        "fraction": 1.0,
        "run": Run(),
    }


@pytest.mark.parametrize(
    ("words", "name", "wanted"),
    [
        ("--index-bytes 189,193", "index", Index(bytes="189,193")),
        ("--index-names inline,crossline", "index", Index(names=["inline", "crossline"])),
        ("--index-types int32,int16", "index", Index(types=["int32", "int16"])),
        ("--coordinate-bytes none", "index", Index(coordinate_bytes="none")),
        ("--chunks 64,32,128 --codec zstd-5", "master", Master(chunks=[64, 32, 128], codec="zstd-5")),
        ("--shards 0", "master", Master(shards=[0])),
        ("--presets fast_time --quality high", "copies", Copies(presets=["fast_time"], quality="high")),
        ("--tolerance 0.5", "copies", Copies(tolerance=0.5)),
        (
            "--copy fast_inline=4,512,512 --copy b=1,2,3",  # replace the presets
            "copies",
            Copies(
                presets=[],
                more=[Copy(name="fast_inline", chunks=[4, 512, 512]), Copy(name="b", chunks=[1, 2, 3])],
            ),
        ),
        (
            "--copy b=1,2,3 --presets fast_time,fast_inline",
            "copies",
            Copies(presets=["fast_time", "fast_inline"], more=[Copy(name="b", chunks=[1, 2, 3])]),
        ),
        ("--levels 2 --factor 2,2,1", "pyramid", Levels(levels=2, factor=[2, 2, 1])),
        ("--no-copies --no-proof", "steps", ["pyramid", "report"]),
        ("--fraction 0.25", "fraction", 0.25),
        ("--memory 4GiB --dask local:2 --dry-run", "run", Run(memory="4GiB", dask="local:2", dry_run=True)),
        ("--created-on 2026-01-01T00:00:00+00:00", "run", Run(created_on="2026-01-01T00:00:00+00:00")),
        (
            "--region-name eu-1 --requester-pays",  # a model inside of a model
            "run",
            Run(storage_options=StorageOptions(region_name="eu-1", requester_pays=True)),
        ),
    ],
)
def test_a_flag_is_a_field_of_its_model(words, name, wanted):
    assert parse("a.sgy", *words.split())[name] == wanted


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("a@b", r"SOURCE: what was given is not repeated, wanted a local path, or s3://"),
        ("s3://a::b", r"SOURCE: what was given is not repeated, wanted"),
        ("a --chunks 4,x", r"--chunks: got 'x'; input should be a valid integer"),
        ("a --index-bytes inline", r"--index-bytes: got 'inline', wanted first byte of each index field"),
        ("a --presets fast_inline,slow", r"--presets: got 'slow'; input should be 'fast_inline', "),
        ("a --copy a=1,x", r"--copy: got 'x'; input should be a valid integer"),
        ("a --tolerance -1", r"--tolerance: got -1\.0; input should be greater than or equal to 0"),
        ("a --dask spark", r"--dask: got 'spark', wanted threads of this process, local:N"),
        ("a --memory lots", r"--memory: got 'lots', wanted memory that the run may use"),
    ],
)
def test_a_wrong_value_is_told_of_with_its_flag_and_what_was_wanted(words, sentence):
    with pytest.raises(UsageError, match=f"^{sentence}"):
        parse(*words.split())


# Exit codes and sentences


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["publish"], 'Command "publish" parameter SOURCE requires an argument'),
        (["rechunk", "v", "--chunks", "4"], "Unknown option: --chunks"),
        (["rechunk", "v", "--copy", "a"], "got 'a', wanted a name and chunks, such as fast_inline=4,512,512"),
        (["rechunk", "v", "--quality", "best"], "--quality: got 'best', wanted"),
        (["rechunk", "v", "--dask", "spark"], "--dask: got 'spark', wanted"),
        (["sing"], 'Unknown command "sing"'),
        (["sing"], ", …; seismill --help shows"),
        (["verify", "v", "--fraction", "0"], "--fraction: got 0.0; input should be greater than 0;"),
        (["sweep", "a", "b", "--max-active", "1000"], "--max-active: got 1000; input should be less than"),
        (["view", "v", "--port", "99999"], "--port: got 99999; input should be less than or equal to 65535;"),
        (["up", "--port", "99999"], 'Invalid value "99999" for --port. Must be <= 65535;'),
    ],
)
def test_usage_is_exit_code_2_and_one_line(capsys, words, sentence):
    assert cli.run(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("flags", [[], ["--debug"]])
def test_an_input_refused_is_exit_code_3_and_its_sentence_with_a_traceback_on_request(
    capsys, tmp_path, flags
):
    (tmp_path / "text.sgy").write_bytes(b"this is not SEG-Y")
    assert cli.run(["ingest-segy", str(tmp_path / "text.sgy"), str(tmp_path / "v.zarr"), *flags]) == 3
    err = capsys.readouterr().err
    assert err.splitlines()[-1].count(". ") == 0
    assert ("Traceback" in err) == bool(flags)
    assert not (tmp_path / "v.zarr").exists()


def test_a_source_that_is_not_there_is_refused_before_a_server_starts(capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert cli.run(["publish", str(tmp_path / "no.sgy"), str(tmp_path / "no.zarr")]) == 3
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"there is no file {tmp_path}/no.sgy; check the path\n")
    assert list(tmp_path.iterdir()) == []


def test_another_plan_is_exit_code_4_and_leaves_the_volume(capsys, tmp_path, survey):
    volume = str(tmp_path / "v.zarr")
    assert cli.run(["ingest-segy", str(survey), volume]) == 0
    before = (tmp_path / "v.zarr" / "zarr.json").read_bytes()
    assert cli.run(["ingest-segy", str(survey), volume, "--chunks", "4,4,4"]) == 4
    assert "overwrite" in capsys.readouterr().err
    assert (tmp_path / "v.zarr" / "zarr.json").read_bytes() == before


def test_a_flipped_bit_is_exit_code_5(capsys, tmp_path, survey):
    volume = tmp_path / "v.zarr"
    assert cli.run(["ingest-segy", str(survey), str(volume)]) == 0
    chunk = next(path for path in sorted((volume / "amplitude" / "c").rglob("*")) if path.is_file())
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 4
    chunk.write_bytes(data)
    capsys.readouterr()
    assert cli.run(["verify", str(volume), "--json"]) == 5
    out, err = capsys.readouterr()
    assert "amplitude" in err
    assert json.loads(out)["findings"][0]["key"] == chunk.relative_to(volume).as_posix()
    assert cli.run(["verify", str(volume), "--repair", "from_source", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["repaired"] == [chunk.relative_to(volume).as_posix()]
    assert cli.run(["verify", str(volume), "--repair", "from_nowhere"]) == 2


def test_a_copy_holds_what_was_not_left_out(capsys, tmp_path, survey):
    volume, target = tmp_path / "v.zarr", tmp_path / "w.zarr"
    assert cli.run(["ingest-segy", str(survey), str(volume)]) == 0
    assert cli.run(["rechunk", str(volume), "--presets", "fast_inline,fast_time"]) == 0
    capsys.readouterr()
    assert cli.run(["copy", str(volume), str(target), "--excludes", "fast_inline, fast_time", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out.splitlines()[-1])["target"] == str(target)
    assert f"copy: {target}" in err
    assert sorted(
        path.name for path in volume.iterdir() if path.name not in {p.name for p in target.iterdir()}
    ) == [
        "fast_inline",
        "fast_time",
    ]
    assert cli.run(["copy", str(volume), str(target)]) == 4
    assert "--overwrite" in capsys.readouterr().err
    assert cli.run(["copy", str(volume), str(tmp_path / "x.zarr"), "--includes", "fast_xline"]) == 3


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (KeyError("bug"), 1, "KeyError: 'bug'\n--debug shows where this happened"),
        (RuntimeError(), 1, "RuntimeError\n--debug shows where this happened"),
        (KeyboardInterrupt(), 75, "stopped; run the same command again to go on where it ended"),
        (Resumable("a.zarr is written by another run"), 75, "a.zarr is written by another run"),
        (IntegrityFailure("3 objects are wrong"), 5, "3 objects are wrong"),
    ],
)
def test_every_way_to_end_has_its_code_and_is_told_without_a_traceback(capsys, error, code, sentence):
    with told_in_one_sentence(debug=False) as ended:
        raise error
    assert ended() == code
    assert capsys.readouterr().err == sentence + "\n"


def test_a_stopped_run_is_exit_code_75_and_running_it_again_ends_it(tmp_path):
    survey = tmp_path / "survey.sgy"
    make_survey(str(survey), shape=(120, 90, 301))
    volume = tmp_path / "v.zarr"
    words = ["ingest-segy", str(survey), str(volume), "--chunks", "8,8,304", "--memory", "20 MB"]
    command = [*SEISMILL, *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not list(volume.glob(".seismill/runs/*/ledger/*")) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert "Traceback" not in err
    assert err.splitlines()[-1] == f"go on with: seismill {shlex.join(words)}"
    assert not (volume / "zarr.json").exists()
    again = seismill(*words, "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout.splitlines()[-1])["blocks_resumed"] > 0


# What is printed


def test_json_is_the_last_line_and_alone_on_standard_output(capsys, tmp_path, survey):
    volume = str(tmp_path / "v.zarr")
    assert (
        cli.run(["publish", str(survey), volume, "--no-flow", "--no-report", "--json", "--quality", "high"])
        == 0
    )
    out, err = capsys.readouterr()
    summary = json.loads(out)
    assert (summary["volume"], summary["stage"]) == (volume, "publish")
    assert {"amplitude", "fast_inline", "fast_crossline", "fast_time"} <= {
        array["path"] for array in summary["arrays"]
    }
    for array in summary["arrays"]:
        assert array["shape"]
        assert array["chunks"]
        assert array["stored_bytes"] > 0
    assert {"seconds", "requests", "bytes_read", "bytes_written", "proven_at"} <= summary.keys()
    assert "fast_inline" in err  # the table is for people


def test_the_table_the_places_and_the_proof_are_told(capsys, tmp_path, survey):
    volume = str(tmp_path / "v.zarr")
    assert cli.run(["publish", str(survey), volume, "--no-flow", "--no-report"]) == 0
    out = capsys.readouterr().out
    assert f"volume: {volume}" in out
    assert "export proven identical" in out
    assert max(map(len, out.splitlines()[:6])) <= 80


def test_a_dry_run_writes_nothing_and_starts_no_server(capsys, tmp_path, survey, monkeypatch):
    monkeypatch.setattr("flows.command._in_flow", lambda name, arguments: pytest.fail("a server is started"))
    assert cli.run(["publish", str(survey), str(tmp_path / "v.zarr"), "--dry-run"]) == 0
    assert "would be written; nothing was" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["survey.sgy"]


def test_a_dry_run_refuses_the_destinations_that_the_run_would(capsys, tmp_path, survey):
    volume, scan, image, others = (tmp_path / name for name in ("v.zarr", "a.npy", "i.zarr", "others"))
    np.save(scan, np.zeros((4, 5, 6), "uint8"))
    assert cli.run(["ingest-segy", str(survey), str(volume)]) == 0
    assert cli.run(["ingest-images", str(scan), str(image)]) == 0
    assert cli.run(["make-image", str(tmp_path / "z.zarr"), "--shape", "8,8,8", "--chunks", "4,4,4"]) == 0
    others.mkdir()
    (others / "notes.txt").write_text("somebody's")
    before = sorted(path for path in tmp_path.rglob("*") if ".seismill" not in path.parts)
    for words in (
        ["publish", survey, others, "--no-flow"],
        ["publish", scan, others, "--no-flow"],
        ["copy", volume, others],
        ["export-ome", image, others],
        ["rechunk", tmp_path / "z.zarr", "--group", "x=8", "--target", others],
        ["export-segy", volume, scan],
        ["export-segy", volume, scan, "--selection", "inline=1001:1002"],
    ):
        for dry in (["--dry-run"], []):
            assert cli.run([*map(str, words), *dry]) == 4, (words, dry)
    assert cli.run(["export-segy", str(volume), str(survey), "--dry-run"]) == 0, "it is the export already"
    capsys.readouterr()
    assert before == sorted(path for path in tmp_path.rglob("*") if ".seismill" not in path.parts)


def test_help_needs_neither_prefect_nor_numba_nor_zarr():
    program = (
        "import sys\nfrom flows.cli import run\n"
        "assert run(['--help']) == 0\nassert not {'pydantic', 'importlib.metadata'} & set(sys.modules)\n"
        "assert run(['publish', '--help']) == 0\n"
        "print(sorted({'prefect', 'numba', 'zarr', 'distributed', 'matplotlib', 's3fs'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_bare_demo_shows_the_whole_line(tmp_path):
    done = seismill("demo", str(tmp_path / "demo"), "--no-flow")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "export identical: yes"
    assert f"volume: {tmp_path / 'demo' / 'survey.zarr'}" in lines
    (page,) = (Path(line.removeprefix("report: ")) for line in lines if line.startswith("report: "))
    assert page.read_bytes().startswith(b"<!DOCTYPE html>")
    assert (tmp_path / "demo" / "export.sgy").read_bytes() == (tmp_path / "demo" / "survey.sgy").read_bytes()


@pytest.mark.parametrize("survey_too", [False, True])
def test_a_demo_leaves_alone_what_is_not_of_a_demo(capsys, tmp_path, survey_too):
    (tmp_path / "export.sgy").write_bytes(b"somebody's")
    if survey_too:
        (tmp_path / "survey.sgy").write_bytes(b"somebody's survey")
    before = sorted(tmp_path.iterdir())
    assert cli.run(["demo", str(tmp_path), "--no-flow"]) == 4
    assert "export.sgy was not written by a demo; name a folder" in capsys.readouterr().err
    assert (tmp_path / "export.sgy").read_bytes() == b"somebody's"
    assert sorted(tmp_path.iterdir()) == before
    assert cli.run(["demo", str(tmp_path / "export.sgy"), "--no-flow"]) == 4
    assert "export.sgy cannot be a folder" in capsys.readouterr().err


def test_a_terminal_without_all_letters_gets_the_help():
    # Python reads and writes ASCII then.
    done = seismill("publish", "--help", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert "--quality" in done.stdout


# Through Prefect


def test_a_deployment_needs_a_server_that_is_configured(tmp_path):
    environment = {"PREFECT_HOME": str(tmp_path / "home"), "PREFECT_API_URL": ""}
    words = ("sweep", str(tmp_path), str(tmp_path / "volumes"), "--deployment", "publish/publish")
    done = seismill(*words, **environment)
    assert done.returncode == 3
    assert done.stderr.startswith(
        "no Prefect server is configured to start runs of a deployment; set PREFECT_API_URL"
    )


@pytest.mark.server
def test_a_flow_run_starts_a_server_of_its_own_and_says_so(tmp_path, survey):
    environment = {"PREFECT_HOME": str(tmp_path / "home"), "PREFECT_API_URL": ""}
    done = seismill("publish", str(survey), str(tmp_path / "v.zarr"), "--json", **environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0].startswith("Prefect: an embedded server for this run")
    assert json.loads(done.stdout)["proven_at"]
    refused = seismill(
        "ingest-segy", str(survey), str(tmp_path / "v.zarr"), "--chunks", "4,4,4", "--flow", **environment
    )
    assert refused.returncode == 4
    assert "Traceback" not in refused.stderr


@pytest.mark.server
def test_an_api_that_is_configured_and_does_not_answer_is_an_error_that_names_it(tmp_path, survey):
    url = "http://127.0.0.1:1/api"
    done = seismill("publish", str(survey), str(tmp_path / "v.zarr"), PREFECT_API_URL=url)
    assert done.returncode == 1
    assert f"the Prefect API at {url} does not answer" in done.stderr
    assert not (tmp_path / "v.zarr").exists()
