"""What columns become which network inputs, and what the target is: planned from types and options, fitted on the
training rows, stored with the model.
"""

from __future__ import annotations

from delc.features.encoding import FeatureEncoder
from delc.features.fitted import FittedFeatures
from delc.features.fitting import FeatureFitter
from delc.features.layout import RowLayout
from delc.features.plan import FeaturePlan, plan_features

__all__ = ["FeatureEncoder", "FeatureFitter", "FeaturePlan", "FittedFeatures", "RowLayout", "plan_features"]
