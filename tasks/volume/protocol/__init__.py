"""How a volume is written: plan, blocks, ledger, commit, one writer at a time."""
