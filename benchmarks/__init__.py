"""Benchmarks: what the engine costs, beside NumPy and its peers, from one run on one machine.

`cases.py` is the table of what is measured, and everything else here serves it. `make bench` runs
all of it.
"""
