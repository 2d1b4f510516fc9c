"""Run a module of Prefect with ours imported first: `python -P -m flows.prefect_module prefect.engine`.

Prefect looks for a flow's module in the current folder first, where a project may have a folder flows/ or tasks/ of its
own. A module that is imported already is not looked for.
"""

import runpy
import sys

import flows.audit
import flows.migrate
import flows.publish
import flows.sweep
import flows.verbs  # noqa: F401

if __name__ == "__main__":
    module = sys.argv.pop(1)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
