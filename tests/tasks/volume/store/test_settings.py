"""What no waiting mends is told at once, in one sentence that names the setting, by the real SDKs.

Covers clouds/settings.py, clouds/faults.py.
"""

import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tasks.prefect_tasks import outcome_state, store_out_of_reach
from tasks.volume.outcomes import InputRefused, SettingRefused
from tasks.volume.store.clouds.faults import Misconfigured, Transient, fault
from tasks.volume.store.writable import WritableStore

SECONDS = 30  # for a process that imports an SDK on a busy machine; retries take 120
TRY = """
import sys, time
from tasks.volume.store.objects import Source
from tasks.volume.outcomes import Outcome
began = time.monotonic()
try:
    Source(sys.argv[1])
except Outcome as outcome:
    print(f"{time.monotonic() - began:.1f}|{outcome.exit_code}|{outcome}")
"""
KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_DEFAULT_REGION": "us-east-1"}
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Refusing(BaseHTTPRequestHandler):
    """Answers every request as a store does one without credentials."""

    def do_GET(self) -> None:
        """401, whatever is asked for."""
        self.send_response(401)
        self.send_header("x-ms-error-code", "NoAuthenticationInformation")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def served(context: ssl.SSLContext | None) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def plain() -> Iterator[int]:
    """The port of a server that speaks plain HTTP and wants credentials."""
    yield from served(None)


@pytest.fixture(scope="module")
def self_signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server with a certificate that nobody trusts."""
    folder = tmp_path_factory.mktemp("certificate")
    words = f"req -x509 -newkey rsa:2048 -nodes -keyout {folder}/key -out {folder}/cert -days 2 -subj /CN=127.0.0.1"
    subprocess.run(["openssl", *words.split()], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert", folder / "key")
    yield from served(context)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Files of settings, most of them broken; a folder to be at home in."""
    (tmp_path / "broken").write_text("[default\nregion=us-east-1\n")
    (tmp_path / "nothing").write_text("")
    (tmp_path / "partial").write_text("[default]\naws_access_key_id = x\n")
    (tmp_path / "tool").write_text("[profile p]\ncredential_process = /nonexistent/tool\n")
    (tmp_path / "role").write_text("[profile r]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = gone\n")
    (tmp_path / "sso").write_text(
        "[profile s]\nsso_session = n\nsso_account_id = 1\nsso_role_name = r\n"
        "[sso-session n]\nsso_region = us-east-1\nsso_start_url = https://x.example\n"
    )
    (tmp_path / "account.json").write_text('{"type": "service_account"}')
    (tmp_path / "text.json").write_text("no JSON")
    return tmp_path


def tried(url: str, settings: dict[str, str], files: Path) -> tuple[float, int, str]:
    """Seconds, exit code and sentence of opening a file in a process of its own with these settings alone."""
    environment = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ}
    environment |= {
        "HOME": str(files),
        "FSSPEC_CONFIG_DIR": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_GCE_CHECK": "true",
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
    }
    process = subprocess.run(
        [sys.executable, "-c", TRY, url],
        env=environment | settings,
        cwd=Path(__file__).parents[4],
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert process.stderr == "", "one sentence, and no page of an SDK"
    seconds, code, sentence = process.stdout.strip().split("|", 2)
    return float(seconds), int(code), sentence


S3 = [
    ({**KEYS, "AWS_PROFILE": "nope"}, ["nope", "AWS_PROFILE"]),
    ({**KEYS, "AWS_CONFIG_FILE": "HOME/broken"}, ["broken", "AWS_CONFIG_FILE"]),
    ({**KEYS, "AWS_DEFAULT_REGION": "us east 1"}, ["us east 1", "AWS_DEFAULT_REGION"]),
    ({**KEYS, "AWS_ENDPOINT_URL": "https://127.0.0.1:PLAIN"}, ["TLS", "AWS_ENDPOINT_URL", "plain HTTP"]),
    ({**KEYS, "AWS_ENDPOINT_URL": "https://127.0.0.1:SIGNED"}, ["certificate", "AWS_CA_BUNDLE"]),
    ({**KEYS, "AWS_ENDPOINT_URL": "127.0.0.1:PLAIN"}, ["AWS_ENDPOINT_URL", "http://"]),
    ({**KEYS, "AWS_ENDPOINT_URL": "ftp://127.0.0.1:PLAIN"}, ["AWS_ENDPOINT_URL", "http://"]),
    ({**KEYS, "AWS_ENDPOINT_URL": "http://127.0.0.1:99999"}, ["AWS_ENDPOINT_URL", "valid port"]),
    ({**KEYS, "AWS_ENDPOINT_URL": "http://host.invalid"}, ["host.invalid is not known", "AWS_ENDPOINT_URL"]),
    (
        {**KEYS, "AWS_ENDPOINT_URL": "https://127.0.0.1:PLAIN", "AWS_CA_BUNDLE": "/gone.pem"},
        ["AWS_CA_BUNDLE=/gone.pem"],
    ),
    ({"AWS_DEFAULT_REGION": "us-east-1"}, ["no credentials were found", "AWS_ACCESS_KEY_ID"]),
    (
        {"AWS_DEFAULT_REGION": "us-east-1", "AWS_SHARED_CREDENTIALS_FILE": "HOME/partial"},
        ["missing: aws_secret_access_key"],
    ),
    ({"AWS_CONFIG_FILE": "HOME/tool", "AWS_PROFILE": "p"}, ["/nonexistent/tool"]),
    ({"AWS_CONFIG_FILE": "HOME/role", "AWS_PROFILE": "r"}, ['"gone"', "~/.aws/config"]),
    ({"AWS_CONFIG_FILE": "HOME/sso", "AWS_PROFILE": "s"}, ["aws sso login"]),
    ({**KEYS, "AWS_RETRY_MODE": "bogus"}, ["bogus", "AWS_ variables"]),
]
GCS = [
    ({"STORAGE_EMULATOR_HOST": "http://127.0.0.1:PLAIN"}, ["no credentials of Google were found"]),
    ({"GOOGLE_APPLICATION_CREDENTIALS": "HOME/gone.json"}, ["GOOGLE_APPLICATION_CREDENTIALS", "gone.json"]),
    ({"GOOGLE_APPLICATION_CREDENTIALS": "HOME/text.json"}, ["GOOGLE_APPLICATION_CREDENTIALS", "text.json"]),
    (
        {"GOOGLE_APPLICATION_CREDENTIALS": "HOME/account.json"},
        ["GOOGLE_APPLICATION_CREDENTIALS", "account.json"],
    ),
    ({"STORAGE_EMULATOR_HOST": "https://127.0.0.1:PLAIN"}, ["TLS", "STORAGE_EMULATOR_HOST"]),
    ({"STORAGE_EMULATOR_HOST": "https://127.0.0.1:SIGNED"}, ["certificate", "STORAGE_EMULATOR_HOST"]),
    ({"STORAGE_EMULATOR_HOST": "http://127.0.0.1:99999"}, ["is no address", "STORAGE_EMULATOR_HOST"]),
    (
        {"STORAGE_EMULATOR_HOST": "http://host.invalid"},
        ["host.invalid is not known", "STORAGE_EMULATOR_HOST"],
    ),
]


def account(endpoint: str, key: str = AZURE_KEY) -> dict[str, str]:
    text = f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={key};BlobEndpoint={endpoint}/a;"
    return {"AZURE_STORAGE_CONNECTION_STRING": text}


AZURE = [
    ({}, ["AZURE_STORAGE_CONNECTION_STRING", "--account-name"]),
    ({"AZURE_STORAGE_CONNECTION_STRING": "garbage"}, ["malformed", "AZURE_STORAGE_CONNECTION_STRING"]),
    (account("https://127.0.0.1:PLAIN"), ["TLS", "BlobEndpoint"]),
    (account("127.0.0.1:PLAIN"), ["TLS", "BlobEndpoint"]),
    (account("https://127.0.0.1:SIGNED"), ["certificate", "BlobEndpoint"]),
    (account("http://host.invalid"), ["host.invalid is not known", "BlobEndpoint"]),
    (account("http://127.0.0.1:PLAIN", "zzz"), ["base64", "AZURE_STORAGE_ACCOUNT_KEY"]),
    (account("http://127.0.0.1:PLAIN"), ["no credentials were sent", "AZURE_STORAGE_ACCOUNT_KEY"]),
    ({"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_STORAGE_CLIENT_ID": "x"}, ["secret", "AZURE_STORAGE"]),
]
CASES = [
    pytest.param(url, settings, named, marks=() if number < 2 else pytest.mark.slow)
    for url, cases in (("s3://b/a.sgy", S3), ("gs://b/a.sgy", GCS), ("az://b/a.sgy", AZURE))
    for number, (settings, named) in enumerate(cases)
]


@pytest.mark.slow
@pytest.mark.parametrize(("url", "settings", "named"), CASES)
def test_a_setting_that_is_wrong_is_named_at_once(url, settings, named, files, plain, self_signed):
    for name, value in settings.items():
        replaced = value.replace("HOME/", f"{files}/").replace("PLAIN", str(plain))
        settings = settings | {name: replaced.replace("SIGNED", str(self_signed))}
    seconds, code, sentence = tried(url, settings, files)
    assert code == InputRefused.exit_code
    assert seconds < 10
    for words in named:
        assert words in sentence
    assert AZURE_KEY not in sentence


@pytest.mark.parametrize(
    "code",
    ["InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed", "AuthenticationFailed"],
)
def test_an_answer_that_a_setting_is_wrong_names_it(code):
    assert isinstance(fault(403, code, "get s3://b/a"), Misconfigured)
    assert "correct A" in str(fault(403, code, "get s3://b/a"))


@pytest.mark.slow
def test_what_worked_a_moment_ago_is_no_setting_and_the_log_names_the_store_once(s3, caplog):
    from tasks.volume.limits import Patience
    from tasks.volume.store import calls

    store = WritableStore("s3://staging/worked")
    store.put("a", b"1")

    async def broken() -> None:
        raise Misconfigured("no credentials were found")

    began = time.monotonic()
    line = calls.line_of(store.location, store.options)
    line.patience = Patience(deadline=2.0, say=0.5)
    with pytest.raises(calls.OutOfReach, match="could not be reached"):
        line.call(broken)
    line.patience = Patience()
    assert time.monotonic() - began > 1, "it was tried again"
    assert store.get("a") == b"1"
    silent, back = [record.message for record in caplog.records if record.name == calls.__name__]
    assert silent.startswith("s3://staging: no usable answer for ")
    assert silent.endswith(" s (no credentials were found); it is asked again")
    assert back == "s3://staging answers again"
    with pytest.raises(SettingRefused, match="cannot be used: no credentials were found"):
        calls.Line("s3://other", object()).call(broken)  # type: ignore[arg-type]  # never asked


def test_a_triggered_run_fails_for_good():
    import botocore.exceptions as boto

    refused = InputRefused("s3://b cannot be used: correct AWS_PROFILE")
    assert outcome_state(refused).name == "Failed"
    for error in (
        refused,
        boto.ProfileNotFound(profile="nope"),
        boto.ConfigParseError(path="x"),
        boto.InvalidRegionError(region_name="us east 1"),
        boto.NoCredentialsError(),
        boto.SSLError(endpoint_url="https://x", error="no"),
        ValueError("Invalid endpoint: x"),
    ):
        assert not store_out_of_reach(error)
    assert store_out_of_reach(boto.ReadTimeoutError(endpoint_url="x"))
    assert isinstance(fault(503, "", "get"), Transient)
