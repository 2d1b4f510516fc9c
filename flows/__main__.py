"""`python -m flows` is `seismill`."""

from flows.entry import main

main()
