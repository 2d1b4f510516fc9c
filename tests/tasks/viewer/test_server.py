"""Who may see the pages, how the server ends, and what a browser shows.

Covers viewer/server.py, viewer/page.py, viewer/panel.py, viewer/map_panel.py, viewer/controls.py, viewer/beside.py,
viewer/keys.py, viewer/colours.py, viewer/turns.py and flows/viewing.py.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows import cli
from tasks.viewer.keys import KEYS
from tests import ROOT
from tests.support.survey import Survey

END_SECONDS = 10


@contextmanager
def view(*words: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command as a user calls it, and the address that it prints."""
    command = [sys.executable, "-c", "from flows.entry import main; main()", "view", *words, "--port", "0"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | environment,
    )
    with process:
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield process, line.partition(" ")[0]
        finally:
            if process.poll() is None:
                process.kill()


def ended(process: subprocess.Popen[str], number: int) -> tuple[int, str]:
    """Ask a server to stop; its exit code and what it said since."""
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - began < END_SECONDS
    return process.returncode, out + err


def status(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def upgrade(address: str, origin: str, **headers: str) -> int:
    """The answer to a browser of a page of `origin` that opens the socket."""
    connection = HTTPConnection(address, timeout=30)
    fields = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol": "bokeh, none",
        "Origin": origin,
    }
    try:
        connection.request("GET", "/ws", headers=fields | headers)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.slow
def test_on_loopback_there_is_no_token_and_ctrl_c_ends_the_server(viewed):
    with view(viewed) as (process, url):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
        assert status(url) == 200
        address = url.split("/")[2]
        assert upgrade(address, "http://evil.example") == 403
        assert upgrade(address, f"http://{address}") == 101
        code, said = ended(process, signal.SIGINT)
        assert code == 0
        assert "Refusing websocket connection from Origin 'http://evil.example'" in said


@pytest.mark.slow
def test_elsewhere_a_token_is_needed_and_is_printed_once(viewed):
    with view(viewed, "--host", "0.0.0.0") as (process, url):
        port, token = re.fullmatch(r"http://[^/]+:(\d+)/\?token=([\w-]{40,})", url).groups()
        here = f"http://127.0.0.1:{port}"
        for path in (
            "/",
            "/?token=",
            "/?token=wrong",
            f"/?token={token[:-1]}",
            "/ws",
            "/autoload.js",
            "/metadata",
        ):
            assert status(here + path) == 403, path
        assert upgrade(f"127.0.0.1:{port}", here) == 403
        connection = HTTPConnection("127.0.0.1", int(port), timeout=30)
        connection.request("GET", f"/?token={token}")
        answer = connection.getresponse()
        answer.read()
        cookie = answer.getheader("Set-Cookie")
        assert (answer.status, answer.getheader("Location")) == (302, "/")
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        connection.request("GET", "/", headers={"Cookie": cookie.partition(";")[0]})
        page = connection.getresponse()
        text = page.read().decode()
        connection.close()
        assert page.status == 200
        assert token not in text
        assert status(here + "/", Cookie=f"seismill_view_{port}=wrong") == 403
        assert status(f"{here}/nothing?token={token}") == 404
        code, said = ended(process, signal.SIGTERM)
        assert code == 0
        assert token not in said


def refused(*words: str, code: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"{code}\nfrom flows.entry import main; main()", "view", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)


def test_without_bokeh_one_sentence_says_what_to_install(viewed):
    done = refused(viewed, code="import sys; sys.modules['bokeh'] = None")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"seismill view needs Bokeh; install it with pip install -e '{ROOT}[view]'\n"


def test_what_cannot_be_shown_or_bound_is_one_sentence(viewed, tmp_path, capsys):
    assert cli.run(["view", str(tmp_path / "none.zarr")]) == 3
    assert "there is no published volume" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.run(["view", viewed, "--port", str(port)]) == 3
    assert f"127.0.0.1:{port} cannot be bound" in capsys.readouterr().err
    assert cli.run(["view", viewed, "--host", "203.0.113.7"]) == 3
    said = capsys.readouterr().err
    assert "203.0.113.7" in said
    assert "choose another with --port or --host" in said
    assert cli.run(["view", viewed, "--port", "65536"]) == 2
    assert "65536" in capsys.readouterr().err


def test_the_other_commands_import_no_bokeh():
    code = "import flows.cli, sys; assert not {'bokeh', 'tornado'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)


def test_texts_grow_with_a_wide_panel(monkeypatch):
    from bokeh.plotting import figure

    from tasks.viewer import panel

    shown = figure(title="inline 1311")
    for wide, size in ((265, "11px"), (745, "15px"), (3000, "18px")):
        monkeypatch.setattr(panel, "frame_of", lambda _, wide=wide: (wide, 300))
        panel.fit_texts(shown)
        assert {axis.major_label_text_font_size for axis in shown.axis} == {size}
        assert shown.title.text_font_size == f"{int(size[:-2]) + 2}px"
    monkeypatch.setattr(panel, "frame_of", lambda _: (265, 300))
    shown.title.text = "crossline 2301\nfast_crossline ±0.0353 · every 2 x 5"
    panel.fit_texts(shown)
    assert shown.title.text_font_size == "12px"  # its longer line decides
    shown.title.text = "crossline 2301\nfast_crossline ±0.0353 · every 2 x 5 · coarse for now"
    panel.fit_texts(shown)
    assert shown.title.text_font_size == "9px"  # nothing of it is cut off


def test_the_guide_has_the_keys_of_the_page():
    guide = (ROOT / "tasks/viewer/README.md").read_text()
    rows = re.findall(r"^\| ((?:`[^`]+` ?)+…?\s*)\| (.+) \|$", guide, re.MULTILINE)
    assert {keys.replace("`", "").strip().replace("-", "\N{MINUS SIGN}"): does for keys, does in rows} == KEYS


# A browser


def in_browser(
    url: str, folder: Path, steps: list[list[Any]], size: tuple[int, int] = (1280, 900)
) -> dict[str, Any]:
    """What a person sees who does these steps; screenshots go where SEISMILL_SCREENSHOTS says, or are forgotten."""
    place = Path(os.environ.get("SEISMILL_SCREENSHOTS") or folder)
    place.mkdir(parents=True, exist_ok=True)
    command = [
        "node",
        str(ROOT / "tests/support/viewer.js"),
        url,
        str(place),
        *map(str, size),
        json.dumps(steps),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    assert seen["errors"] == []
    return seen


def image_of(state: dict[str, Any], panel: str) -> np.ndarray:
    shown = state["panels"][panel]
    return np.array(shown["values"], float).reshape(shown["shape"])


@pytest.mark.browser
def test_a_person_moves_a_slider_types_draws_and_sees_the_samples(viewed, survey: Survey, tmp_path):
    steps = [
        ["choose", "samples", "master"],
        ["state", "first"],
        ["slide", "inline", "ArrowRight", 3],
        ["state", "slid"],
        ["number", "crossline", 331],
        ["state", "typed"],
        ["key", "ArrowLeft"],
        ["key", "3"],
        ["key", "Shift+ArrowRight"],
        ["state", "stepped"],
        ["hover", "inline section", 0.5, 0.5],
        ["state", "pointed"],
        ["fill", "line", "10,300; 88,387"],
        ["state", "line"],
        ["click", "map", 0.5, 0.5],
        ["state", "clicked"],
        ["choose", "samples", "difference: fast_time"],
        ["shot", "difference"],
        ["state", "difference"],
        ["wheel", "time slice", 0.5, 0.5, -1000],
        ["state", "zoomed"],
    ]
    with view(viewed) as (process, url):
        states = in_browser(url, tmp_path, steps)["states"]
        assert ended(process, signal.SIGINT) == (0, "")
    first = states["first"]["controls"]
    at = [
        (first["number inline"] - 10) // 2,
        (first["number crossline"] - 300) // 3,
        first["number time"] // 4,
    ]

    def check(state: dict[str, Any]) -> None:
        np.testing.assert_array_equal(image_of(state, "inline section"), survey.values[at[0]].T)
        np.testing.assert_array_equal(image_of(state, "crossline section"), survey.values[:, at[1]].T)
        np.testing.assert_array_equal(image_of(state, "time slice"), survey.values[:, :, at[2]])

    check(states["first"])
    at[0] += 3
    check(states["slid"])
    assert states["slid"]["controls"]["number inline"] == 10 + 2 * at[0]
    assert states["slid"]["panels"]["inline section"]["title"] == f"inline {10 + 2 * at[0]}\namplitude"
    at[1] = 10  # 330 is nearest to 331
    check(states["typed"])
    assert states["typed"]["controls"]["number crossline"] == 330
    at[0] -= 1
    at[2] += 10
    check(states["stepped"])
    pointed = states["pointed"]["controls"]["cursor"]
    assert f"<b>{10 + 2 * at[0]}</b>" in pointed
    assert "stored sample" in pointed
    assert states["pointed"]["controls"]["header"].count("<tr>") > 3
    line = image_of(states["line"], "line")
    assert states["line"]["panels"]["line"]["visible"]
    np.testing.assert_array_equal(line[:, 0], survey.values[0, 0])
    np.testing.assert_array_equal(line[:, -1], survey.values[-1, -1])
    clicked = states["clicked"]["controls"]
    assert (abs(clicked["number inline"] - 49) <= 3, abs(clicked["number crossline"] - 343) <= 4) == (
        True,
        True,
    )
    difference = image_of(states["difference"], "time slice")
    assert 0 < np.nanmax(np.abs(difference)) < np.nanmax(np.abs(survey.values)) / 10
    assert max(np.abs(states["difference"]["colours"])) < max(np.abs(states["clicked"]["colours"])) / 10
    whole, zoomed = states["difference"]["panels"]["time slice"], states["zoomed"]["panels"]["time slice"]
    assert zoomed["shape"][0] < whole["shape"][0]


@pytest.mark.browser
def test_images_are_shown_to_scale_and_labels_in_colours_of_their_own(image, voxels, tmp_path):
    with view(image) as (process, url):
        steps = [["number", "z", 12], ["state", "z"], ["shot", "labels"]]
        state = in_browser(url, tmp_path, steps)["states"]["z"]
        assert ended(process, signal.SIGTERM) == (0, "")
    np.testing.assert_array_equal(image_of(state, "z slice"), voxels[3])
    np.testing.assert_array_equal(image_of(state, "x slice"), voxels[:, :, 20])
    assert state["controls"]["colours"] == "labels"
    assert state["colours"] == [-0.5, 255.5]
