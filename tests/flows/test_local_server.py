"""The thread that the local server's loop runs in is never the one that garbage is collected in.

Covers flows/under_way.py.
"""

import subprocess
import sys

PROGRAM = """
import threading
import flows.local_server as local

local._EVERY_SECONDS = 0.01
told = []
gone = threading.Event()

class Cycle:
    def __init__(self):
        self.me = self
    def __del__(self):
        told.append(threading.current_thread().name)
        gone.set()

local.collect_elsewhere()
for _ in range(100_000):  # far more than makes Python collect by itself
    Cycle() if not told else None
    [[] for _ in range(10)]
    if told:
        break
assert gone.wait(60)
print(sorted(set(told)))
"""


def test_garbage_is_collected_in_a_thread_of_its_own():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.stdout == "['garbage']\n", done.stderr
