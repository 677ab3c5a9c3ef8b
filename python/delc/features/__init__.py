"""What columns become which network inputs, and what the target is.

Both are planned from types and options, fitted on the training rows, stored with the model and applied at prediction.
"""

from __future__ import annotations

from delc.features.encoding import FeatureEncoder
from delc.features.fitted import FittedFeatures
from delc.features.fitted_target import Classification, FittedTarget, Multilabel, Regression, target_from_json
from delc.features.fitting import FeatureFitter
from delc.features.layout import RowLayout
from delc.features.plan import FeaturePlan, plan_features
from delc.features.target_encoding import TargetEncoder
from delc.features.target_fitting import TargetFitter
from delc.features.target_plan import TargetPlan, plan_target

__all__ = [
    "Classification",
    "FeatureEncoder",
    "FeatureFitter",
    "FeaturePlan",
    "FittedFeatures",
    "FittedTarget",
    "Multilabel",
    "Regression",
    "RowLayout",
    "TargetEncoder",
    "TargetFitter",
    "TargetPlan",
    "plan_features",
    "plan_target",
    "target_from_json",
]
