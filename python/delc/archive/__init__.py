"""The parameter archive: deltas between tensors, and the plans that say which tensor is kept as a delta of which."""
