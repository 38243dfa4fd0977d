"""Measures chatserve beside its peers: same answers, same load, one table. Run it with `python -m benchmarks`."""
