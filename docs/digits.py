"""Prints scikit-learn's handwritten digits as CSV rows: id, 8×8 grey values from 0 to 16, digit."""

import csv
import sys

from sklearn.datasets import load_digits

digits = load_digits()
writer = csv.writer(sys.stdout)
for number, (image, digit) in enumerate(zip(digits.images, digits.target, strict=True), start=1):
    rows = ",".join("{" + ",".join(f"{grey:g}" for grey in row) + "}" for row in image)
    writer.writerow([number, "{" + rows + "}", digit])
