"""What the benchmarks share: the machine, the server, rows, networks, and the measuring itself."""
