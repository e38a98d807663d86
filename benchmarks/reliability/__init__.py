"""The whole system under constant load while it is swapped, rolled back and hurt on purpose."""
