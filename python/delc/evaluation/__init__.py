"""Evaluation: metrics with confidence intervals, for each task."""
