"""Files, servers and processes for tests."""
