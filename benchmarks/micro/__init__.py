"""The time of single operations, by pytest-benchmark: docs/internals/benchmarks.md."""
