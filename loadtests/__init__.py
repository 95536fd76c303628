"""Load and benchmarks; clients of a running server, never part of one."""
