"""The execution log: every run with its arguments, inputs, outputs, metrics and outcome."""
