"""Doors to other programs: models out and in, scikit-learn's estimators, loggers, any model.

Each outside library is an extra with one owner module here, imported when it is asked for.
"""
