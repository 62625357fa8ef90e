"""What mediakeep costs beside its peers, as ratios within one run: `python -m benchmarks --help`."""
