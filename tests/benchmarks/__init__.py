"""The gateway beside its peers, in one run: CPU, throughput, latency and memory."""
