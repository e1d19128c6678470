"""The Celery application: `celery -A serving.worker.app worker -B`. Tasks carry ids; PostgreSQL remembers the rest.

A task that is lost costs time and nothing else: the sweeper finds what is due, so no result is kept and nothing is
retried.
"""

from __future__ import annotations

import os

from celery import Celery

SWEEP = "sweep"
MOVE_USAGE = "usage.move"
USAGE_SECONDS = 60.0

app = Celery("rapport", broker=os.environ.get("SERVING_REDIS_URL", "redis://127.0.0.1:6379/0"))
app.conf.update(
    imports=["serving.worker.tasks"],
    task_serializer="json",
    accept_content=["json"],
    task_ignore_result=True,
    task_acks_late=False,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"socket_connect_timeout": 1.0, "socket_timeout": 30.0},
    task_default_queue="celery",
    timezone="UTC",
    beat_schedule_filename=os.path.join(os.environ.get("RAPPORT_HOME", "/tmp"), "celerybeat-schedule"),  # noqa: S108
    beat_schedule={
        # Twice the period: a sweep that waited longer than that in the queue has been overtaken by the next.
        SWEEP: {
            "task": SWEEP,
            "schedule": float(os.environ.get("SERVING_SWEEP_SECONDS", "10")),
            "options": {"expires": 2 * float(os.environ.get("SERVING_SWEEP_SECONDS", "10"))},
        },
        MOVE_USAGE: {"task": MOVE_USAGE, "schedule": USAGE_SECONDS, "options": {"expires": USAGE_SECONDS}},
    },
)
