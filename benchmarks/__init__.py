"""The benchmark: this server, the limit without one, and what users would pick instead."""
