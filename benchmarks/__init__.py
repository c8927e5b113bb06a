"""Speed side by side with other frameworks: `python -m benchmarks.cpu`."""
