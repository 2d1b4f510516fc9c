"""What goes wrong with a store ends in the right result, or in a stop from which the same command goes on.

Requests go through a proxy that spoils some of them. Deadlines are shortened here: what is tried is what happens
at them, and that nothing outlasts them.

Covers store/calls.py, clouds/faults.py.
"""

import base64
import dataclasses
import hashlib
import itertools
import os
import random
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import google_crc32c
import pytest

from tasks.copy import copy
from tasks.export_segy import export_segy
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Master, Run, StorageOptions
from tasks.prove import prove
from tasks.rechunk import rechunk
from tasks.verify import verify
from tasks.volume.arrays.volume_root import Root
from tasks.volume.outcomes import DestinationRefused, InputRefused, IntegrityFailure, Outcome, Resumable
from tasks.volume.protocol.lock import locked
from tasks.volume.protocol.root import commit, current_root
from tasks.volume.store import calls
from tasks.volume.store.objects import Source, Store, open_upload
from tasks.volume.store.writable import WritableStore
from tests.support.emulators.faults import KINDS, FaultProxy, Rule
from tests.support.survey import Survey, make_survey
from tests.support.volumes import STAMP

Result = TypeVar("Result")
DEADLINE, SHORT, TRY = 12.0, 4.0, 4.0  # seconds; a busy machine may take one for an answer
ENDS, SOON = 1.0, 0.75  # deadlines where a fault never ends
MOST = 60.0  # no call may take so long with these, on any machine
DATA = bytes(range(256)) * 40
FAULTS = int(os.environ.get("SEISMILL_FAULTS", "20"))
SEED = int(os.environ.get("SEISMILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
EXPIRED = {"s3": "expired", "gs": "401", "az": "401"}
PASSING = [
    kind for kind in KINDS if kind not in ("401", "403", "skewed", "expired", "unknown-key")
]  # others are never tried again
pytestmark = pytest.mark.slow  # seconds of waiting for deadlines, hundreds of times

NO_CHECKSUM = "no store gives a checksum of a range; the whole file's is compared when all of it was read"


def wait(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> None:
    """Have all calls of this process wait for a store for other times, and as before for those that are not named."""
    monkeypatch.setattr(calls.Line, "patience", dataclasses.replace(calls.Line.patience, **seconds))


@pytest.fixture
def proxy(
    cloud: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FaultProxy]:
    """A proxy between this test and a cloud of each kind; `store` and all else of the test go through it."""
    name = {"s3": "s3", "gs": "gcs", "az": "azure"}[cloud]
    upstream: str = request.getfixturevalue(name)
    wait(monkeypatch, deadline=DEADLINE, short_deadline=SHORT, one_try=TRY)
    with FaultProxy(upstream) as proxy:
        through(cloud, upstream, proxy.url, monkeypatch)
        calls.line_to.cache_clear()
        proxy.protocol = cloud  # type: ignore[attr-defined]
        yield proxy
    calls.line_to.cache_clear()
    forget(cloud)


def through(cloud: str, upstream: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send what is for a store to another address."""
    import fsspec.config

    if cloud == "s3":
        monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": url})
    elif cloud == "gs":
        monkeypatch.setitem(fsspec.config.conf, "gs", {"endpoint_url": url})
    else:
        known = os.environ["AZURE_STORAGE_CONNECTION_STRING"]
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", known.replace(upstream, url))
    forget(cloud)


def forget(cloud: str) -> None:
    """Have no file system remember where it was sent to."""
    import fsspec

    fsspec.get_filesystem_class(cloud).clear_instance_cache()


@pytest.fixture
def store(proxy: FaultProxy) -> Store:
    # A name of its own: a process keeps the plans it has opened, and with them the way to their store.
    return WritableStore(f"{proxy.protocol}://volumes/{uuid.uuid4().hex}.zarr")  # type: ignore[attr-defined]


def read_whole(store: Store) -> object:
    return store.get("a")


def read_source(store: Store) -> object:
    return Source(f"{store.url}/a").read(100, 5000)


def read_end(store: Store) -> object:
    return store.get_tail("a", 100)


def write(store: Store) -> object:
    store.put("b", DATA)
    return True


def create(store: Store) -> object:
    return store.create("b", DATA)


def replace(store: Store) -> object:
    return store.replace("a", DATA, store.identity("a"))


CALLS: dict[Callable[[Store], object], object] = {
    read_whole: DATA,
    read_source: DATA[100:5100],
    read_end: DATA[-100:],
    write: True,
    create: True,
    replace: True,
}


def marks(call: Callable[[Store], object], kind: str, times: int) -> list[pytest.MarkDecorator]:
    """A stall takes its time, so two calls show what becomes of one; and once shows most of what is to be seen."""
    quick = times == 1 and (kind != "stall" or call in (read_whole, write))
    return [] if quick else [pytest.mark.campaign]


@pytest.mark.parametrize(
    ("call", "kind", "times"),
    [
        pytest.param(call, kind, times, marks=marks(call, kind, times), id=f"{call.__name__}-{kind}-{times}")
        for call, kind, times in itertools.product(CALLS, PASSING, (1, 4))
    ],
)
def test_a_fault_that_passes_changes_no_result(
    store: Store, proxy: FaultProxy, call: Callable[[Store], object], kind: str, times: int
) -> None:
    store.put("a", DATA)
    if call in (read_source, read_end) and kind == "flip":
        pytest.skip(NO_CHECKSUM)
    # To replace an object is to look at it first, which is tried by the other calls.
    writes = {"s3": "PUT", "gs": "POST", "az": "PUT"}[store.location.protocol]
    proxy.do(Rule(kind, times=times, method=writes if call is replace else ""))
    began = time.monotonic()
    try:
        result = call(store)
    except Resumable:
        assert kind == "stall", "only what takes its time may not end in time"
        return
    finally:
        assert time.monotonic() - began < DEADLINE + 2 * TRY
        proxy.do()
    assert result == CALLS[call]
    if call in (write, create):
        assert store.get("b") == DATA


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make deadlines so short that what never ends is soon given up."""
    wait(monkeypatch, deadline=ENDS, short_deadline=SOON, one_try=SOON)


def ended_well(work: Callable[[], Result]) -> tuple[Result | None, Outcome | None]:
    """What some work gave, or the outcome that it ended with."""
    try:
        return work(), None
    except Outcome as outcome:
        return None, outcome


QUICK = {("read_source", "reset_mid"), ("create", "lost_ack")}


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        pytest.param(
            call,
            kind,
            marks=() if (call.__name__, kind) in QUICK else pytest.mark.campaign,
            id=f"{call.__name__}-{kind}",
        )
        for call in CALLS
        for kind in PASSING
    ],
)
def test_an_endless_fault_ends_resumable_at_the_deadline(
    store: Store,
    proxy: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[Store], object],
    kind: str,
) -> None:
    if call in (read_source, read_end) and kind == "flip":
        pytest.skip(NO_CHECKSUM)
    store.put("a", DATA)
    proxy.do(Rule(kind))
    ended, sentence = [], rf"could not be reached for {ENDS:.0f} s .* run the same command again"
    with monkeypatch.context() as hurried:
        hurry(hurried)
        for again in (False, True):  # what follows a store that is gone waits less
            began = time.monotonic()
            result, outcome = ended_well(lambda: call(store))
            assert time.monotonic() - began < MOST
            # An answer without a body, say, is not spoilt; and what was created is not created again.
            right = result == CALLS[call] or (call is create and again and result is False)
            assert right if outcome is None else re.search(sentence, str(outcome))
            ended.append(type(outcome).__name__)
    print(f"{store.location.protocol} {call.__name__} {kind}: {ended}, {proxy.requests} requests")
    proxy.do()
    assert call(store) == CALLS[call] or call is create  # which may have been carried out
    if call in (write, create):
        assert store.get("b") == DATA


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_what_is_forbidden_is_refused_at_once_and_never_missing(
    store: Store, proxy: FaultProxy, call: Callable[[Store], object]
) -> None:
    store.put("a", DATA)
    proxy.do(Rule("403"))
    with pytest.raises((DestinationRefused, InputRefused), match="check its policy"):
        call(store)
    assert proxy.requests <= 2, "the answer to a HEAD has no reason, so a second request gets it"
    with pytest.raises(DestinationRefused, match="check its policy"):
        store.exists("a")


def look(store: Store) -> object:
    return store.exists("a")


@pytest.mark.parametrize("call", [read_whole, write, create, look])
@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("skewed", "the clock of this machine is wrong; set it"),
        ("unknown-key", "the store does not know this access key"),
    ],
)
def test_a_wrong_clock_or_key_is_told_of_and_not_a_policy(
    store: Store,
    proxy: FaultProxy,
    call: Callable[[Store], object],
    kind: str,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not store.url.startswith("s3:"):
        pytest.skip("the proxy speaks of clocks and keys as S3 does")
    store.put("a", DATA)
    proxy.do(Rule(kind, times=2))
    call(store)  # it is right again
    wait(monkeypatch, deadline=ENDS, short_deadline=SOON)
    proxy.do(Rule(kind))
    with pytest.raises(Resumable, match=sentence):
        call(store)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_credentials_that_ran_out_are_renewed_once(
    store: Store, proxy: FaultProxy, call: Callable[[Store], object]
) -> None:
    kind = "expired" if store.url.startswith("s3:") else "401"
    store.put("a", DATA)
    proxy.do(Rule(kind, times=1))
    assert call(store) == CALLS[call]
    proxy.do(Rule(kind))
    with pytest.raises(
        Resumable, match=rf"credentials for {re.escape(store.url[:12])}.* ran out .* renew them"
    ):
        store.get("a")
    assert proxy.requests == 2


def test_what_is_written_carries_its_checksum(store: Store, proxy: FaultProxy) -> None:
    store.put("a", DATA)
    head, body = proxy.last
    crc32c = base64.b64encode(google_crc32c.value(DATA).to_bytes(4, "big"))
    md5 = base64.b64encode(hashlib.md5(DATA, usedforsecurity=False).digest())
    fields = dict(line.lower().partition(b": ")[::2] for line in head.split(b"\r\n"))
    assert DATA in body
    if store.location.protocol == "s3":
        assert fields[b"x-amz-checksum-crc32c"] == crc32c.lower()
    elif store.location.protocol == "gs":
        assert b'"crc32c": "' + crc32c + b'"' in body
    else:
        assert fields[b"content-md5"] == md5.lower()


# Many calls at once


def test_a_store_that_is_busy_is_asked_less_at_once_and_then_more_again(
    store: Store, proxy: FaultProxy
) -> None:
    line = calls.line_of(store.location, store.options)
    most = line.limit
    proxy.do(Rule("503", times=40))
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda number: store.put(f"a/{number}", b""), range(32)))
    lowest = line.limit
    assert lowest <= most // 2
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.put(f"b/{number}", b""), range(200)))
    assert line.limit > lowest
    assert len(store.keys("")) == 232


@pytest.mark.parametrize("kind", ["503", "lost_ack", "reset_mid", "short"])
def test_a_tenth_of_requests_spoilt_costs_at_most_half_as_many_again(
    store: Store, proxy: FaultProxy, kind: str
) -> None:
    def work(number: int) -> None:
        assert store.create(f"{kind}/{number}", DATA + bytes([number]))
        assert store.get(f"{kind}/{number}") == DATA + bytes([number])

    proxy.do(Rule(kind, share=0.1))
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(100)))
    spoilt, requests = proxy.fired, proxy.requests
    assert spoilt
    assert requests <= 1.5 * 200


@pytest.fixture
def survey(tmp_path: Path) -> Survey:
    return make_survey(tmp_path / "a.sgy", drop=3, n_samples=37)


@pytest.mark.campaign
@pytest.mark.parametrize(
    "kind", ["503", "429", "500", "reset_before", "reset_mid", "end_mid", "short", "lost_ack", "412"]
)
def test_verbs_end_well_with_a_tenth_of_all_requests_spoilt(
    store: Store, proxy: FaultProxy, survey: Survey, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait(monkeypatch, deadline=60.0)
    staging = WritableStore(f"{store.url.partition('://')[0]}://staging")
    staging.put("a.sgy", survey.content)

    def line(volume: str) -> None:
        ingest_segy(
            f"{staging.url}/a.sgy", volume, master=Master(chunks=[4, 4, 8]), run=Run(created_on=STAMP)
        )
        verify(volume, errors=True)
        export_segy(volume, f"{staging.url}/again.sgy", overwrite=True)

    proxy.do()
    line(f"{store.url}/quiet")
    quiet = proxy.requests
    proxy.do(Rule(kind, share=0.1))
    line(f"{store.url}/spoilt")
    assert proxy.fired
    assert proxy.requests <= 1.5 * quiet
    proxy.do()
    assert staging.get("again.sgy") == survey.content
    one, other = WritableStore(f"{store.url}/quiet"), WritableStore(f"{store.url}/spoilt")
    keys = [key for key in one.keys("") if not key.startswith(".seismill/")]
    assert keys == [key for key in other.keys("") if not key.startswith(".seismill/")]
    assert [key for key in keys if one.get(key) != other.get(key)] == []


READS, WRITES = "GET|HEAD", "PUT|POST|DELETE"


@pytest.mark.parametrize(
    ("method", "kind", "part"),
    [
        pytest.param(
            *case,
            marks=() if case == (WRITES, "end_mid", 0.6) else pytest.mark.campaign,
            id="-".join(map(str, case)),
        )
        for case in itertools.product((READS, WRITES), PASSING, (0.05, 0.3, 0.6, 0.95))
    ],
)
def test_a_run_that_meets_an_endless_fault_is_gone_on_with_when_it_has_passed(
    store: Store,
    proxy: FaultProxy,
    survey: Survey,
    method: str,
    kind: str,
    part: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wait(monkeypatch, deadline=60.0, one_try=30.0)  # for undamaged answers on a busy machine
    staging = WritableStore(f"{store.location.protocol}://staging")
    staging.put("a.sgy", survey.content)

    def ingest(volume: str) -> None:
        ingest_segy(
            f"{staging.url}/a.sgy", volume, master=Master(chunks=[4, 4, 8]), run=Run(created_on=STAMP)
        )

    proxy.do(Rule("count", method=method))  # which spoils nothing
    ingest(f"{store.url}/quiet")
    asked, volume = proxy.fired, f"{store.url}/spoilt"
    proxy.do(Rule(kind, method=method, after=int(part * asked)))
    with monkeypatch.context() as hurried:
        hurry(hurried)
        began = time.monotonic()
        _, outcome = ended_well(lambda: ingest(volume))
        assert time.monotonic() - began < MOST
    proxy.do()
    assert outcome is None or isinstance(outcome, Resumable) or kind == "flip", outcome
    print(f"{volume} {method} {kind} from request {int(part * asked)} of {asked} on: {outcome}")
    ingest(volume)
    quiet, other = WritableStore(f"{store.url}/quiet"), WritableStore(volume)
    keys = [key for key in quiet.keys("") if not key.startswith(".seismill/")]
    assert keys == [key for key in other.keys("") if not key.startswith(".seismill/")]
    assert [key for key in keys if quiet.get(key) != other.get(key)] == []


@pytest.mark.campaign
@pytest.mark.timeout(36000)
def test_a_fault_at_any_request_of_a_verb_changes_no_result(
    store: Store, proxy: FaultProxy, survey: Survey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEISMILL_FAULTS says how many are tried, SEISMILL_SEED which: acknowledgements lost, tokens that ran out."""
    wait(monkeypatch, deadline=60.0, one_try=30.0)
    drawn = random.Random(SEED)
    staging = WritableStore(f"{store.location.protocol}://staging")
    staging.put("a.sgy", survey.content)
    run, quiet = Run(created_on=STAMP), f"{store.url}/ingest"
    copies = Copies(presets=[], more=[Copy(name="across", chunks=[8, 2, 8])], quality="lossless")
    verbs: dict[str, Callable[[str], object]] = {
        "ingest": lambda place: ingest_segy(
            f"{staging.url}/a.sgy", place, master=Master(chunks=[4, 4, 8]), run=run
        ),
        "copy": lambda place: copy(quiet, place, run=run),
        "rechunk": lambda place: rechunk(place, copies, run=run),
    }

    def content(place: str) -> dict[str, bytes]:
        volume = Store(place)
        return {key: volume.get(key) for key in volume.keys("") if not key.startswith(".seismill/")}

    asked, wanted = {}, {}
    for name, verb in verbs.items():
        place = f"{store.url}/{name}"
        if name == "rechunk":
            copy(quiet, place, run=run)
        proxy.do()
        verb(place)
        asked[name], wanted[name] = proxy.requests, content(place)
    ended: Counter[str] = Counter()
    for number in range(FAULTS):
        name, place = drawn.choice(sorted(verbs)), f"{store.url}/{number}"
        if name == "rechunk":
            copy(quiet, place, run=run)
        kind = drawn.choice(["lost_ack", "lost_ack", EXPIRED[store.location.protocol], "503", "reset_mid"])
        proxy.do(Rule(kind, after=drawn.randrange(asked[name]), times=drawn.choice([1, 1, 3])))
        _, outcome = ended_well(lambda: verbs[name](place))  # noqa: B023  # it runs at once
        fired = proxy.fired
        proxy.do()
        assert outcome is None or isinstance(outcome, Resumable), (SEED, number, name, kind, outcome)
        if outcome:
            verbs[name](place)
        assert content(place) == wanted[name], (SEED, number, name, kind)
        ended[f"{name} {kind} {fired and type(outcome).__name__}"] += 1
    print(f"SEISMILL_SEED={SEED}: {dict(ended)}")


@pytest.mark.parametrize("share", ["some", pytest.param("every", marks=pytest.mark.campaign)])
@pytest.mark.parametrize(
    "which", ["one file", pytest.param("files of a pattern", marks=pytest.mark.campaign)]
)
def test_a_wrong_bit_in_any_answer_with_a_range_of_a_source_never_ends_in_a_volume(
    store: Store, proxy: FaultProxy, survey: Survey, which: str, share: str
) -> None:
    """The store knows the checksum of the whole file, if of no range of it."""
    staging = WritableStore(f"{store.location.protocol}://staging/{uuid.uuid4().hex}")
    staging.put("line_1.sgy", survey.content)
    source = f"{staging.url}/{'line_1.sgy' if which == 'one file' else 'line_*.sgy'}"

    def ingest(volume: str) -> None:
        ingest_segy(source, volume, master=Master(chunks=[4, 4, 8]), run=Run(created_on=STAMP))

    reads = {
        "method": "GET",
        "match": r"line_1\.sgy(\?|$)" if store.location.protocol == "gs" else r"line_1\.sgy",
    }
    ranges = Rule("count", **reads)  # which spoils nothing
    proxy.do(ranges)
    ingest(f"{store.url}/quiet")
    found = 0
    asked = proxy.fired
    for after in range(asked) if share == "every" else (asked // 2, asked - 2):
        proxy.do(Rule("flip", after=after, times=1, **reads))
        try:
            ingest(f"{store.url}/{after}")
        except (IntegrityFailure, InputRefused):
            found += 1
            with pytest.raises(InputRefused, match="publish one there first"):
                verify(f"{store.url}/{after}")
        else:
            assert not proxy.fired or WritableStore(f"{store.url}/{after}").get("zarr.json")
        proxy.do()
        ingest(f"{store.url}/{after}")
        assert prove(f"{store.url}/{after}")["proven_at"]
    assert found


@pytest.mark.parametrize("kind", ["503", "reset_before", "lost_ack", "end_mid"])
def test_an_upload_goes_on_after_faults(store: Store, proxy: FaultProxy, kind: str) -> None:
    part = 5 << 20
    data = DATA * (2 * part // len(DATA) + 1) + b"end"
    upload = open_upload(WritableStore(f"{store.url}/out").location, StorageOptions(), part)
    proxy.do(Rule(kind, share=0.4, times=5))
    upload.write(data)
    upload.close()
    proxy.do()
    assert store.get("out") == data


def test_an_upload_that_cannot_end_can_be_discarded(
    store: Store, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = open_upload(WritableStore(f"{store.url}/out").location, StorageOptions(), 5 << 20)
    upload.write(bytes(6 << 20))
    proxy.do(Rule("503"))
    with monkeypatch.context() as hurried:
        hurry(hurried)
        with pytest.raises(Resumable, match="run the same command again"):
            upload.close()
    proxy.do()
    upload.discard()
    assert store.keys("") == []


# What stores are not good for


def test_a_store_that_cannot_create_only_once_is_refused_or_accepted_by_name(
    store: Store, proxy: FaultProxy
) -> None:
    if not store.url.startswith("s3:"):
        pytest.skip("Google's and Azure's can")
    proxy.do(Rule("unconditional"))
    with pytest.raises(DestinationRefused, match="accept_unconditional_writes"):
        store.probe()
    accepted = WritableStore(store.url, StorageOptions(accept_unconditional_writes=True))
    accepted.probe()
    assert accepted.create("a", b"1")
    assert not accepted.create("a", b"2")


def test_a_root_whose_put_was_asleep_on_its_way_does_not_replace_the_one_of_the_next_owner(
    store: Store, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait(monkeypatch, one_try=60.0, deadline=60.0)
    with locked(store, wait_seconds=0) as epoch:
        commit(store, epoch, Root.new({"name": "first"}))
    asleep = threading.Event()
    on_its_way = r"ifGenerationMatch=[1-9]" if store.url.startswith("gs:") else r"\.zarr/zarr\.json"
    method = "POST" if store.url.startswith("gs:") else "PUT"
    proxy.do(Rule("stall", method=method, match=on_its_way, times=1, until=asleep))
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(commit, store, epoch, Root.new({"name": "second"}))
        while not proxy.fired:
            time.sleep(0.01)
        with locked(store, wait_seconds=0) as next_epoch:
            root = current_root(store)
            assert root
            assert root.attributes["name"] == "second", "it was committed"
            commit(store, next_epoch, Root.new({"name": "third"}))
            whole = store.get("zarr.json")
            asleep.set()
            with pytest.raises(Resumable, match="took over"):
                late.result()
    assert store.get("zarr.json") == whole
    assert b"third" in whole


@pytest.mark.parametrize(("protocol", "tier"), [("s3", "GLACIER"), ("az", "Archive")])
def test_what_lies_in_an_archive_is_to_be_restored_first(
    request: pytest.FixtureRequest, protocol: str, tier: str
) -> None:
    request.getfixturevalue({"s3": "s3", "az": "azure"}[protocol])
    store = WritableStore(f"{protocol}://volumes/a.zarr", StorageOptions(storage_class=f"amplitude={tier}"))
    store.put("amplitude/c/0", DATA)
    store.put("fast_inline/c/0", DATA)
    store.put("amplitude/zarr.json", DATA)
    assert store.get("fast_inline/c/0") == store.get("amplitude/zarr.json") == DATA
    for look in (lambda: store.get("amplitude/c/0"), lambda: Source(f"{store.url}/amplitude/c/0")):
        with pytest.raises(InputRefused, match="restore it first"):
            look()
