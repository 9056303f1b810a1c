"""Throughput measured side by side: `python -m benchmarks` draws the table and the picture of RESULTS.md."""
