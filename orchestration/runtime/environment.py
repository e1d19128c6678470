"""The addresses and secrets every process of the product is started with."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from orchestration.runtime.home import PROJECT_ROOT, Home, HomeUnusable, write_atomically
from orchestration.runtime.postgres import EmbeddedPostgres
from orchestration.runtime.redis import EmbeddedRedis


class SettingUnusable(Exception):
    """A variable of the environment has a value that cannot work; the text names it."""


def read_env_file() -> None:
    """Adds to the environment what the file `.env` beside the project sets (RAPPORT_ENV_FILE names another).

    Lines are NAME=value, quotes around the value optional; what is set already wins. Raises SettingUnusable.
    """
    file = Path(os.environ.get("RAPPORT_ENV_FILE") or PROJECT_ROOT / ".env")
    if not file.is_file():
        return
    for number, line in enumerate(file.read_text().splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.removeprefix("export ").partition("=")
        if not equals or not name.strip().isidentifier():
            raise SettingUnusable(f"{file}, line {number}: not NAME=value")
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        if value:
            os.environ.setdefault(name.strip(), value)


def admin_database_url(home: Home) -> str:
    """The URL of a role that may create roles and tables: DATABASE_URL, else the embedded server's.

    Raises SettingUnusable for a DATABASE_URL that names no PostgreSQL database.
    """
    given = os.environ.get("DATABASE_URL")
    if not given:
        return EmbeddedPostgres(home).url("postgres", "postgres_admin")
    parts = urlsplit(given)
    if parts.scheme.partition("+")[0] not in ("postgres", "postgresql") or not parts.path.strip("/"):
        raise SettingUnusable("DATABASE_URL must look like postgresql://user:password@host:port/database")
    return urlunsplit(parts._replace(scheme="postgresql"))


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
        "PUBLICATION_DATABASE_URL": role_url(admin, "publisher", secrets["postgres_publisher"]),
        "TRAINING_TRACKING_URI": home.mlflow_uri,
        "TRAINING_BUNDLES_DIR": str(home.bundles),
        "DAGSTER_HOME": str(home.dagster),
        "SERVING_DAGSTER_URL": f"unix:{home.sockets / 'dagster.sock'}",
        # Nothing here tells its makers what it is used for.
        "MLFLOW_DISABLE_TELEMETRY": "true",
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


def make_folders(home: Home) -> None:
    """Whatever the processes expect to find in RAPPORT_HOME is there: their folders, and Dagster's instance file.

    Raises HomeUnusable.
    """
    for folder in (home.logs, home.dagster, home.bundles, home.warehouse.parent, home.path / "mlflow"):
        folder.mkdir(parents=True, exist_ok=True)
    _make_sockets_folder(home.sockets)
    instance = PROJECT_ROOT / "deploy" / "dagster.yaml"
    if instance.exists():
        write_atomically(home.dagster / "dagster.yaml", instance.read_text())


def _make_sockets_folder(folder: Path) -> None:
    """Who may enter it may use Dagster: it is ours and closed, or refused. Raises HomeUnusable."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise HomeUnusable(f"{folder} is not a folder of this user; remove it")
    folder.chmod(0o700)
