"""Prediction by row and by set."""
