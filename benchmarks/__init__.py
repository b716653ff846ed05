"""What the project costs and reaches, measured as ratios within one run: ``python -m benchmarks``."""
