"""Answers from the leading bits of the parameters, with a proof that the rest would not change them."""
