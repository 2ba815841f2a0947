"""Benchmarks with ratios against a peer or a bare probe in the same run.

`python -m benchmarks --help`.
"""
