"""Instructions that the hot paths of the core take: docs/internals/benchmarks.md."""
