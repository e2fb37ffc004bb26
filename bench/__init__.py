"""Benchmarks: `make bench` runs those of bench/__main__.py."""
