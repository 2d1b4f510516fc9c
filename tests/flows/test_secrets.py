"""No refusal repeats a credential, wherever it was given (flows/flags.py, flows/cli.py, tasks/volume/outcomes.py)."""

import inspect
import itertools
import pickle
from collections.abc import Iterator

import pytest

from flows import cli
from flows.allowed import refuse_foreign_stores, refuse_outside
from flows.commands import function_of
from flows.names import COMMANDS as VERBS_AND_CHAINS
from flows.stages import load_verb
from flows.viewing import view
from tasks.parameters import Publication, StorageOptions, Url
from tasks.volume.outcomes import InputRefused, without_secrets
from tasks.volume.store.url import locate
from tasks.volume.sweeps.sidecar import members_of, publication_of, read_sidecar

KEY, SECRET = "AKIACANARY", "wJalr/CANARY+xUt"
URLS = (
    f"s3://{KEY}:{SECRET}@bucket/x",
    f"gs://{SECRET}@bucket/x",
    f"s3://bucket/x?X-Amz-Credential={KEY}&X-Amz-Signature={SECRET}",
    f"simplecache::s3://{KEY}:{SECRET}@bucket/x",
    f"az://container/x?sv=2024&sig={SECRET}",
)
CHAINED = f"{KEY}:{SECRET}@host"
COMMANDS = sorted(
    name
    for name in cli.app
    if not name.startswith("-") and name not in ("up", "down", "register", "completion", "metrics")
)


def commands() -> Iterator[list[str]]:
    """Words of a command line with a canary in one place, over every verb and parameter that takes a URL."""
    for command in COMMANDS:
        name = command.replace("-", "_")
        function = function_of(name) if name in VERBS_AND_CHAINS else view
        parameters = inspect.signature(function).parameters.values()
        places = [parameter.name for parameter in parameters if parameter.annotation == Url]
        plain = ["/nowhere/there"] * (0 if command == "demo" else len(places) or 1)
        for number in range(max(1, len(places))):
            for url in (*URLS, CHAINED):
                words = [command, *plain, "--no-flow"]
                words[1 + number : 2 + number] = [url]
                yield words
        for flag in ("--target", "--mask", "--array"):
            for url in URLS[:2]:
                yield [command, *plain, "--no-flow", flag, url]
        for field in StorageOptions.model_fields:
            for value in (
                *URLS,
                f"https://{KEY}:{SECRET}@host",
                f"https://host?sig={SECRET}",
                f"{KEY}:{SECRET}",
                SECRET,
            ):
                yield [command, *plain, f"--{field.replace('_', '-')}", value]
        wrong = (f"--secret-key={SECRET}", f"--lock-wait={KEY}:{SECRET}", f"{KEY}:{SECRET}")
        for word in wrong[: None if plain else 2]:
            yield [command, *plain, "--no-flow", word]


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 17])
def test_no_refused_command_line_repeats_a_credential(step: int, capsys: pytest.CaptureFixture[str]) -> None:
    count = 0
    for words in itertools.islice(commands(), 0, None, step):
        code = cli.run(words)
        printed = "".join(capsys.readouterr())
        assert code == cli.USAGE, (words, printed)
        assert "CANARY" not in printed, (words, printed)
        count += 1
    assert count > 1000 / step


@pytest.mark.parametrize("url", URLS)
def test_no_refusal_of_a_place_repeats_a_credential(url: str) -> None:
    for refuse in (
        locate,
        lambda url: refuse_outside([url], "s3://elsewhere"),
        lambda url: refuse_outside([f"/allowed,{url}"], "/allowed"),
        lambda url: refuse_foreign_stores(
            StorageOptions.model_construct(endpoint_url=url, account_name=""), ""
        ),
        lambda url: load_verb("info")(url),
        lambda url: load_verb("verify")(url),
    ):
        with pytest.raises(InputRefused) as refused:
            refuse(url)
        assert "CANARY" not in str(refused.value)
        assert "CANARY" not in repr(pickle.loads(pickle.dumps(refused.value)))


@pytest.mark.parametrize("url", [*URLS, CHAINED])
@pytest.mark.parametrize(
    "text", ["index: {{bytes: '{}'}}", "'{}': 1", "md5: '{}'", "files: ['{}']", "- '{}'", "'{}", "{}"]
)
def test_no_refused_sidecar_is_repeated(url: str, text: str) -> None:
    def use() -> None:
        sidecar = read_sidecar(text.format(url).encode())
        publication_of(sidecar, Publication())
        members_of("a.seismill.yaml", sidecar, [])

    with pytest.raises(ValueError, match=r".") as refused:
        use()
    assert "CANARY" not in str(refused.value)


def test_validation_errors_of_the_form_repeat_no_input() -> None:
    for name in StorageOptions.model_fields:
        with pytest.raises(ValueError, match=name) as refused:
            StorageOptions.model_validate({name: [f"{KEY}:{SECRET}"]})
        assert "CANARY" not in str(refused.value)


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("s3://bucket/a b.zarr has no array", "s3://bucket/a b.zarr has no array"),
        ("at 10:30 a@b wrote", "at 10:30 a@b wrote"),
        ("'s3://k:s/t@b/x' is refused", "'s3://…@b/x' is refused"),
        ("https://h/x?sig=abc; no", "https://h/x?…"),
        ("aws_secret_access_key=abc, again", "aws_secret_access_key=…, again"),
        ("is it (5)? yes = no", "is it (5)? yes = no"),
    ],
)
def test_only_what_could_be_a_credential_is_left_out(sentence: str, shown: str) -> None:
    assert without_secrets(sentence).startswith(shown)


def test_a_long_sentence_is_looked_through_in_one_pass() -> None:
    text = ("a:" * 200_000) + ("@" * 1000) + " ?" * 100_000 + "secret" * 50_000
    assert len(without_secrets(text)) < len(text)
