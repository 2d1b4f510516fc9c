"""Volumes that earlier versions of Seismill wrote, from files of the tests' own makers."""
