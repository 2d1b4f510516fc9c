"""SEG-Y from web servers: ranges, identity, redirects, and servers without ranges.

Covers clouds/web.py.
"""

import ssl
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import aiohttp.connector
import pytest

from flows.allowed import refuse_outside, refuse_stored
from tasks.export_segy import export_segy
from tasks.ingest_segy import ingest_segy
from tasks.parameters import StorageOptions
from tasks.prove import prove
from tasks.scan import scan
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.clouds.faults import Rejected
from tasks.volume.store.clouds.web import _refuse_private
from tasks.volume.store.objects import Source, Store
from tasks.volume.store.url import checked_addresses
from tests.support.segy_maker import segy_bytes
from tests.support.web import Site, make_certificate, serving

SURVEY = segy_bytes(shape=(20, 30), n_samples=50)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        site.files["/data/a%20b.sgy"] = SURVEY
        yield site


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Serve the same over https://, with a certificate that this process trusts."""
    certificate = make_certificate(tmp_path / "known.pem")
    monkeypatch.setattr(
        aiohttp.connector, "_SSL_CONTEXT_VERIFIED", ssl.create_default_context(cafile=certificate)
    )
    with serving(certificate) as site:
        site.files["/data/a%20b.sgy"] = SURVEY
        yield site


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEISMILL_SCRATCH", str(tmp_path / "scratch"))


@pytest.mark.slow
@pytest.mark.parametrize("site_has", ["etag", "dated", "no ranges"])
def test_a_file_of_a_web_server_is_published_and_proven(secure: Site, site_has: str, tmp_path: Path) -> None:
    site = secure
    site.etag, site.dated, site.ranges = site_has == "etag", site_has != "etag", site_has != "no ranges"
    source, volume = f"{site.url}/data/a%20b.sgy", str(tmp_path / "a.zarr")
    assert ingest_segy(source, volume)["notes"] != ["was done already"]
    assert ingest_segy(source, volume)["notes"] == ["was done already"]
    assert prove(volume)["proven_at"]
    export_segy(volume, str(tmp_path / "a.sgy"))
    assert (tmp_path / "a.sgy").read_bytes() == SURVEY
    whole = [span for _, span in site.requests if span == f"bytes=0-{len(SURVEY) - 1}"]
    assert len(whole) == (site_has == "no ranges"), "without ranges the file is read once"


def test_a_server_without_a_known_certificate_is_refused(tmp_path: Path) -> None:
    with (
        serving(make_certificate(tmp_path / "unknown.pem")) as site,
        pytest.raises(InputRefused, match="certificate"),
    ):
        Source(f"{site.url}/data/a%20b.sgy")


def test_a_file_that_changed_is_refused(site: Site) -> None:
    source = Source(f"{site.url}/data/a%20b.sgy")
    assert source.read(3000, 40) == SURVEY[3000:3040]
    site.files["/data/a%20b.sgy"] = SURVEY[:-1] + b"x"
    with pytest.raises(InputRefused, match="changed after the run began"):
        source.read(3000, 40)


def test_what_cannot_be_read_is_refused_in_a_sentence(site: Site) -> None:
    with pytest.raises(InputRefused, match="there is no file"):
        Source(f"{site.url}/none.sgy")
    site.ranges = site.sized = False
    with pytest.raises(InputRefused, match="gives neither ranges nor the size"):
        scan(f"{site.url}/data/a%20b.sgy")
    site.ranges, site.etag, site.dated = True, False, False
    with pytest.raises(InputRefused, match="neither ETag nor Last-Modified"):
        Source(f"{site.url}/data/a%20b.sgy")
    with pytest.raises(InputRefused, match="single SEG-Y files are read"):
        Store(f"{site.url}/volumes/a.zarr")
    with pytest.raises(InputRefused, match="--accept-plain-http"):
        Source("http://data.example.org/a.sgy")


def test_a_redirect_is_followed_to_the_same_server(site: Site) -> None:
    site.redirects["/latest.sgy"] = "/data/a%20b.sgy?signature=x"
    site.files["/data/a%20b.sgy?signature=x"] = SURVEY
    assert Source(f"{site.url}/latest.sgy").read(3000, 40) == SURVEY[3000:3040]
    site.redirects["/latest.sgy"] = "/latest.sgy"
    with pytest.raises(InputRefused, match="redirected more than 5 times"):
        Source(f"{site.url}/latest.sgy")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("file:///etc/passwd", "file://, which is not followed"),
        ("ftp://127.0.0.1/a.sgy", "ftp://, which is not followed"),
        ("gopher://127.0.0.1/a.sgy", "which is not followed"),
        ("http://user:secret@127.0.0.1/a.sgy", "credentials"),
        ("http://127.0.0.1:1/a.sgy", "private address 127.0.0.1"),
        ("http://[::1]/a.sgy", "private address ::1"),
        ("https://10.0.0.1/a.sgy", "private address 10.0.0.1"),
        ("https://192.168.1.1/a.sgy", "private address 192.168.1.1"),
        ("https://172.16.0.1/a.sgy", "private address 172.16.0.1"),
        ("https://[fd00::1]/a.sgy", "private address fd00::1"),
        ("https://[::ffff:10.0.0.1]/a.sgy", "private address 10.0.0.1"),
        ("https://169.254.169.254/latest/meta-data", "private address 169.254.169.254"),
        ("https://localhost/a.sgy", "private address"),
        ("http://data.example.org/a.sgy", "use https://"),
    ],
)
def test_a_redirect_leads_nowhere_else(site: Site, target: str, reason: str) -> None:
    site.redirects["/a.sgy"] = target
    with pytest.raises(InputRefused, match=reason) as refused:
        Source(f"{site.url}/a.sgy")
    assert "secret" not in str(refused.value)


def test_a_redirect_of_a_triggered_run_stays_within_what_it_may_touch(site: Site) -> None:
    site.redirects["/data/latest.sgy"] = "/data/a%20b.sgy"
    site.redirects["/data/out.sgy"] = "/private/a.sgy"
    site.redirects["/data/up.sgy"] = "/data/%2e%2e/private/a.sgy"
    site.files["/private/a.sgy"] = site.files["/data/%2e%2e/private/a.sgy"] = SURVEY
    allowed = f"s3://volumes,{site.url}/data/"
    with checked_addresses(partial(refuse_stored, allowed=allowed)):
        assert Source(f"{site.url}/data/latest.sgy").size == len(SURVEY)
        for name in ("out", "up"):
            with pytest.raises(InputRefused, match=r"redirected, and .*(is outside|goes up|no address)"):
                Source(f"{site.url}/data/{name}.sgy")
        with pytest.raises(InputRefused, match="is outside"):
            Source(f"{site.url}/private/a.sgy")


def test_an_address_of_a_store_allows_no_files_of_a_web_server() -> None:
    refuse_outside(["https://data.example.org/public/a.sgy"], "https://data.example.org/public")
    refuse_outside(["https://data.example.org/a.sgy"], "https://data.example.org/")
    for allowed in (
        "https://data.example.org",
        "https://data.example.org/publi",
        "https://example.org/",
        "/",
    ):
        with pytest.raises(InputRefused, match="is outside"):
            refuse_outside(["https://data.example.org/public/a.sgy"], allowed)
    with pytest.raises(InputRefused, match="goes up"):
        refuse_outside(["https://data.example.org/public/%2E%2e/a.sgy"], "https://data.example.org/public")


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1", "::ffff:169.254.169.254"]
)
def test_some_addresses_get_no_request_even_if_they_are_named(address: str) -> None:
    with pytest.raises(Rejected, match="private address"):
        _refuse_private(address, anywhere=True, what="get")
    url = f"https://[{address}]/a.sgy" if ":" in address else f"https://{address}/a.sgy"
    with pytest.raises(InputRefused, match=r"private address|chained URL"):
        Source(url, StorageOptions(accept_plain_http=True))
