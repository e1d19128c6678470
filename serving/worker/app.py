"""The Celery application: `celery -A serving.worker.app worker -B`. Tasks carry ids; PostgreSQL remembers the rest."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("rapport", broker=os.environ.get("SERVING_REDIS_URL", "redis://127.0.0.1:6379/0"))
