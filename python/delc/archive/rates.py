"""What reading takes, for the planner to weigh against space: milliseconds of one core.

Machines differ in rates more than in their ratios, which are what counts: measuring them in every session would give
another plan each time. bench/bench_archive_rates.py fits them to what reading takes.
"""

from __future__ import annotations

FETCHED = 2.0e6
"""Bytes of a stored value that are fetched in a millisecond."""

DECODED = {"fast": 2.0e6, "dense": 1.1e6, "halves": 0.85e6, "sub": 0.5e6, "planes": 0.6e6, "xor": 0.52e6}
"""Bytes of numbers that an encoding gives in a millisecond; a difference, when its base is there: with a second base or
without.

Differences are taken to be somewhat slower than they are: where the machine has nothing else to do, whole values gain
more from that than differences do, and a plan is to keep its budget there as well.
"""

EACH = 0.07
"""Milliseconds for finding one stored value."""
