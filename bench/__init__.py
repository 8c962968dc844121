"""Benchmarks beside peers: `python -m bench` from the repository's root (see bench/README.md)."""
