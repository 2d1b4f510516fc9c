"""The stages of a publication, planned together."""
