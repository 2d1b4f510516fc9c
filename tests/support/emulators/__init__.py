"""Stores on loopback, and what goes wrong with them."""
