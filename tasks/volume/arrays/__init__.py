"""One stored array: its shape as a value, its chunks as bytes, its attributes for other tools."""
