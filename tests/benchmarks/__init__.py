"""The benchmarks: what is measured against, and what is told of it."""
