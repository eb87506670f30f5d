"""The same two small apps, and every way of serving them that the benchmark compares."""
