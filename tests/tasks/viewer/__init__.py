"""The viewer: what is read for a screen, and what a browser shows."""
