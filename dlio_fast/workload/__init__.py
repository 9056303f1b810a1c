"""What a DLIO workload does: generate its data, train on them, report."""
