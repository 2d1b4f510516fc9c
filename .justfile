# Short names for the commands of .github/CONTRIBUTING.md: `just test`, `just of spill` …

# The fast tests.
test *paths:
    pytest {{paths}}

# The tests of a module: `just of spill`.
of +modules:
    pytest $(python -m tests.of {{modules}})

# Slow tests, those with a server or a browser.
slow *paths:
    pytest -n 2 -m "(slow or server or browser) and not (container or campaign)" {{paths}}

# Style, format, types, import contracts.
lint:
    ruff check .
    ruff format --check .
    mypy
    lint-imports

# Everything, in a fresh clone and environment (an hour; installs system packages as root).
ci:
    .ci/run
