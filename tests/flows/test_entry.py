"""Signals are obeyed from the first moment on, in one sentence.

Covers flows/entry.py, flows/command.py, flows/dropped_signals.py.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.demo import make_survey

COMMAND = [sys.executable, "-c", "from flows.entry import main; main()"]


def catches(process: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return False
    masks = [int(line.split()[1], 16) for line in lines if line.startswith("SigCgt")]
    return bool(masks and masks[0] >> (number - 1) & 1)


def test_a_reader_that_has_seen_enough_gets_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [*COMMAND, "completion", "bash"], stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    assert (process.returncode, process.stderr) == (1, "")


@pytest.mark.parametrize(
    ("limits", "redirected", "code", "sentence"),
    [
        ("", ">&-", 0, ""),
        ("", "<&- >&-", 0, ""),
        ("", "> /dev/full", 75, "the output cannot be written (No space left on device); make room"),
        (
            "ulimit -v 1500000;",
            "> /dev/null",
            75,
            "this process gets no more memory or threads (ulimit -v, ulimit -u)",
        ),
        ("ulimit -f 20;", "> /dev/null", 75, "takes no file of this size (File too large); raise the limit"),
    ],
)
def test_limits_of_the_surroundings_are_a_sentence(
    tmp_path: Path, limits: str, redirected: str, code: int, sentence: str
) -> None:
    survey, volume = tmp_path / "a.sgy", tmp_path / "v.zarr"
    make_survey(str(survey), shape=(12, 10, 60))
    line = f'{limits} "$@" {redirected}'
    words = [*COMMAND, "publish", str(survey), str(volume), "--no-flow"]
    ended = subprocess.run(
        ["bash", "-c", line, "bash", *words], stderr=subprocess.PIPE, text=True, timeout=120
    )
    assert ended.returncode == code, ended.stderr
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "--debug" not in ended.stderr
    if code == 0 or "output" in sentence:
        assert (volume / "zarr.json").exists()


def test_no_file_gets_the_number_of_a_closed_stream_and_its_output(tmp_path: Path) -> None:
    """Without standard error the first file that is opened would have number 2, and messages would be written to it."""
    survey, volume = tmp_path / "a.sgy", tmp_path / "v.zarr"
    make_survey(str(survey), shape=(12, 10, 60))
    words = [*COMMAND, "publish", str(survey), str(volume), "--no-flow"]
    ended = subprocess.run(["bash", "-c", '"$@" <&- >&- 2>&-', "bash", *words], timeout=120)
    assert ended.returncode == 0
    assert subprocess.run([*COMMAND, "verify", str(volume), "--no-flow"], capture_output=True).returncode == 0


def test_what_others_do_at_the_end_of_a_process_is_done_before_it_is_left() -> None:
    script = (
        "import atexit, threading, time\n"
        "from flows import cli, entry\n"
        "def work():\n"
        "    time.sleep(0.5)\n"
        "    print('of a thread')\n"
        "run = cli.run\n"
        "def run_with_others(words):\n"
        "    atexit.register(print, 'at the end')\n"
        "    threading.Thread(target=work).start()\n"
        "    return run(words)\n"
        "cli.run = run_with_others\n"
        "entry.main()\n"
    )
    for words, code in (["--version"], 0), (["info", "missing"], 3):
        ended = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True)
        assert ended.returncode == code
        assert ended.stdout.splitlines()[-2:] == ["of a thread", "at the end"]


@pytest.mark.timeout(200)
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("delay", [0.0, *(pytest.param(d, marks=pytest.mark.slow) for d in (0.2, 0.5, 1.0))])
def test_a_signal_in_the_first_moments_is_one_sentence(tmp_path: Path, name: str, delay: float) -> None:
    shape = (60, 50, 201) if delay < 1 else (250, 200, 501)  # which is published in more than that
    make_survey(str(tmp_path / "a.sgy"), shape=shape)
    words = ["publish", str(tmp_path / "a.sgy"), str(tmp_path / "a.zarr"), "--no-flow"]
    process = subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 90
    while not catches(process.pid, signal.SIGTERM) and time.monotonic() < until:
        time.sleep(0.001)
    time.sleep(delay)
    sent = time.monotonic()
    process.send_signal(getattr(signal, name))
    _, errors = process.communicate(timeout=150)
    assert time.monotonic() - sent < 60  # the machine may be busy
    assert process.returncode == 75, errors
    assert "Traceback" not in errors
    assert "KeyboardInterrupt" not in errors
    assert "run the same command again" in errors


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_whose_exception_python_drops_is_sent_again(name: str) -> None:
    script = (
        "import os, signal, time\n"
        "from flows.command import interrupt_on_signals, told_in_one_sentence\n"
        "class Finalized:\n"
        "    def __del__(self):\n"
        f"        os.kill(os.getpid(), signal.{name})\n"
        "        time.sleep(0.1)\n"
        "        print('never')\n"
        "interrupt_on_signals()\n"
        "with told_in_one_sentence(debug=False) as exit_code:\n"
        "    Finalized()\n"
        "    time.sleep(60)\n"
        "raise SystemExit(exit_code())\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50)
    assert (ended.returncode, ended.stdout) == (75, "")
    assert ended.stderr == "stopped; run the same command again to go on where it ended\n"


def test_a_stop_of_a_flow_run_whose_exception_python_drops_is_sent_again() -> None:
    script = (
        "import os, signal, time\n"
        "import prefect.utilities.engine as engine\n"
        "from prefect.exceptions import TerminationSignal\n"
        "from flows import dropped_signals\n"
        "class Finalized:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        time.sleep(0.1)\n"
        "        print('never')\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('by the handler of before', flush=True))\n"
        "dropped_signals.send_again()\n"
        "dropped_signals.send_again()  # a nested run\n"
        "try:\n"
        "    with engine.capture_sigterm():\n"
        "        Finalized()\n"
        "        time.sleep(60)\n"
        "except TerminationSignal:\n"
        "    print('ends in order')\n"
        "class Faulty:\n"
        "    def __del__(self):\n"
        "        raise ValueError('another error')\n"
        "Faulty()\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50)
    assert (ended.returncode, ended.stdout) == (0, "by the handler of before\nends in order\n")
    assert ended.stderr.rstrip().endswith("ValueError: another error")


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_lost_terminal_lets_the_blocks_in_flight_end(tmp_path: Path) -> None:
    make_survey(str(tmp_path / "a.sgy"), shape=(120, 90, 301))
    volume = tmp_path / "v.zarr"
    words = ["ingest-segy", str(tmp_path / "a.sgy"), str(volume), "--chunks", "8,8,304", "--memory", "20 MB"]
    reading, writing = os.pipe()
    process = subprocess.Popen([*COMMAND, *words], stderr=writing, stdout=writing)
    os.close(writing)
    while not list(volume.glob(".seismill/runs/*/ledger/*")) and process.poll() is None:
        time.sleep(0.005)
    os.close(reading)  # nobody reads any more what it says
    process.send_signal(signal.SIGHUP)
    assert process.wait(150) == 75
    locks = sorted((volume / ".seismill/lock").iterdir())
    assert b'"state": "released"' in locks[-1].read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_nohup_goes_on(tmp_path: Path) -> None:
    make_survey(str(tmp_path / "a.sgy"), shape=(20, 20, 101))
    words = ["ingest-segy", str(tmp_path / "a.sgy"), str(tmp_path / "v.zarr")]
    process = subprocess.Popen(
        [*COMMAND, *words],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    while not catches(process.pid, signal.SIGTERM) and process.poll() is None:
        time.sleep(0.001)
    for _ in range(5):
        process.send_signal(signal.SIGHUP)
        time.sleep(0.1)
    _, errors = process.communicate(timeout=150)
    assert process.returncode == 0, errors


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    "words",
    [
        ["scan", "PIPE"],
        ["ingest-segy", "PIPE", "NEW"],
        ["publish", "PIPE", "NEW", "--no-flow"],
        ["ingest-images", "PIPE", "NEW"],
        ["info", "PIPE"],
        ["verify", "PIPE"],
        ["report", "PIPE"],
    ],
)
def test_a_pipe_as_a_source_is_refused_at_once(tmp_path: Path, words: list[str]) -> None:
    os.mkfifo(tmp_path / "a.sgy")
    places = {"PIPE": str(tmp_path / "a.sgy"), "NEW": str(tmp_path / "new.zarr")}
    ended = subprocess.run(
        [*COMMAND, *(places.get(word, word) for word in words)], capture_output=True, text=True, timeout=150
    )
    assert ended.returncode in (3, 4), ended.stderr
    assert "Error" not in ended.stderr
    assert not (tmp_path / "new.zarr").exists()
