"""Training: the loop, its options, losses, optimisers, schedules and batches."""
