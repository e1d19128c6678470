"""How old the newest build of something may grow before Dagster says so."""

import datetime as dt

import dagster as dg

HOURLY = dg.FreshnessPolicy.time_window(warn_window=dt.timedelta(hours=2), fail_window=dt.timedelta(hours=6))
DAILY = dg.FreshnessPolicy.time_window(warn_window=dt.timedelta(hours=30), fail_window=dt.timedelta(hours=54))
WEEKLY = dg.FreshnessPolicy.time_window(warn_window=dt.timedelta(days=8), fail_window=dt.timedelta(days=15))
