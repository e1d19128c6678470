"""The addresses and secrets every process of the product is started with."""

from __future__ import annotations

import os
from urllib.parse import quote, urlsplit, urlunsplit

from orchestration.runtime.home import Home
from orchestration.runtime.postgres import EmbeddedPostgres
from orchestration.runtime.redis import EmbeddedRedis

DATABASE_ROLES = ("app", "worker", "etl_read")


def admin_database_url(home: Home) -> str:
    """The URL of a role that may create roles and tables: DATABASE_URL, else the embedded server's."""
    given = os.environ.get("DATABASE_URL")
    return given or EmbeddedPostgres(home).url("postgres", "postgres_admin")


def role_url(admin_url: str, role: str, password: str) -> str:
    """The same database, entered as another role."""
    parts = urlsplit(admin_url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}:{quote(password, safe='')}@{host}"))


def process_environment(home: Home) -> dict[str, str]:
    """Settings by variable name for every process; what the caller's environment already sets wins."""
    secrets = home.secrets()
    admin = admin_database_url(home)
    state = home.state()
    ports = state.get("ports", {})
    made = {
        "RAPPORT_HOME": str(home.path),
        "SERVING_DATABASE_URL": role_url(admin, "app", secrets["postgres_app"]),
        "SERVING_WORKER_DATABASE_URL": role_url(admin, "worker", secrets["postgres_worker"]),
        "SERVING_REDIS_URL": os.environ.get("REDIS_URL") or EmbeddedRedis(home).url(),
        "SERVING_JWT_SECRET": secrets["jwt"],
        "SERVING_PHONE_HMAC_KEY": secrets["phone_hmac"],
        "SERVING_BUNDLES_DIR": str(home.bundles),
        "GATEWAY_APP_SECRET": secrets["webhook_app"],
        "GATEWAY_VERIFY_TOKEN": secrets["webhook_verify"],
        "GATEWAY_ACCESS_TOKEN": secrets["gateway_access_token"],
        "FEATURE_STORE_WAREHOUSE": str(home.warehouse),
        "FEATURE_STORE_REDIS_URL": os.environ.get("REDIS_URL") or EmbeddedRedis(home).url(),
        "FEATURE_STORE_OPERATIONAL_URL": role_url(admin, "etl_read", secrets["postgres_etl_read"]),
        "TRAINING_TRACKING_URI": home.mlflow_uri,
        "TRAINING_BUNDLES_DIR": str(home.bundles),
        "DAGSTER_HOME": str(home.dagster),
        "DBT_PROFILES_DIR": str(home.path / "dbt"),
    }
    if "api" in ports:
        made["SERVING_PUBLIC_URL"] = f"http://127.0.0.1:{ports['api']}"
        made["GATEWAY_SIMULATOR_WEBHOOK_URL"] = f"http://127.0.0.1:{ports['api']}/api/v1/webhooks/whatsapp"
    if "simulator" in ports:
        made["GATEWAY_BASE_URL"] = f"http://127.0.0.1:{ports['simulator']}"
        made |= {
            "GATEWAY_SIMULATOR_PORT": str(ports["simulator"]),
            "GATEWAY_SIMULATOR_STATE_DIR": str(home.path / "simulator"),
            "GATEWAY_SIMULATOR_APP_SECRET": secrets["webhook_app"],
            "GATEWAY_SIMULATOR_ACCESS_TOKEN": secrets["gateway_access_token"],
            "GATEWAY_SIMULATOR_VERIFY_TOKEN": secrets["webhook_verify"],
        }
    return made | {name: os.environ[name] for name in made if os.environ.get(name)}
