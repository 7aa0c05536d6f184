"""Measurements, each a module to run with `python -m`."""
