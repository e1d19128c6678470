"""Models fitted offline on one tenant's rows: datasets, one file per model, evaluation, promotion, scoring.

Importing the package imports none of xgboost, scikit-learn or mlflow; the functions that need them do.
"""
