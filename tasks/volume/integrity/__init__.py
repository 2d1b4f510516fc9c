"""Check stored objects against their checksums and repair damaged ones."""
