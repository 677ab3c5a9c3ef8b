"""The parameter archive: which tensors are stored whole and which as differences, and getting them back."""
