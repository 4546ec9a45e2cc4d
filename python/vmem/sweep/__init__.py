"""Grids of runs: one scenario, with keys that vary. Guide: docs/guides/policies.md."""
