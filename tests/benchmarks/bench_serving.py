"""Predictions over HTTP beside MLflow's scoring server, the same server's no-op, and the model itself, in one run.

`python -m tests.benchmarks.bench_serving`: about four minutes. The API runs under the command of deploy/Procfile,
MLflow as its documentation starts it, each in one process; for batches, of which MLflow judges several at a time in one
process too, also each in two, which are all the cores there are. Beside a model that judges in two threads the API runs
in two processes. MLflow is asked in the form its documentation shows for a table
(`dataframe_split`: named columns, as our rows are named), which is also its fastest for batches, and in its fastest
form for one row (`inputs`: a bare tensor), which says nothing of what the numbers are.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime as dt
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import psycopg
import pyarrow as pa
import redis
from numpy.typing import NDArray

from feature_store.feature_services import FEATURE_SERVICES
from feature_store.feature_views import MOMENTS, NUMBERS
from feature_store.on_demand import MISSING_MOMENT
from feature_store.online import contact_key, pack, timezone_key
from orchestration.runtime.home import Home
from orchestration.runtime.ports import free_port
from orchestration.runtime.redis import EmbeddedRedis
from serving.prediction.trees import boosted_trees
from serving.tenant.service import create_tenant
from tests.benchmarks.load import Load, request, run_load
from tests.benchmarks.reporting import PROJECT_ROOT, Figure, figure, report, scratch_database
from training.bundle import export_checked, make_manifest, point_champion, write_bundle
from training.datasets import Dataset, split_by_time
from training.synthetic import synthetic_dataset
from training.train import train

# The people are asked about when training ends: at another time, all their ages would be out of range.
WEEKS = 12
START = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0) - dt.timedelta(weeks=WEEKS)
CONNECTIONS = 16
BATCH = 1_000
BATCH_CONNECTIONS = 4
# As many rows as an Arrow stream may bring.
LARGE = 20_000
TENANTS = 200
# So little that 200 bundles cannot all be held: a worker has to evict.
SMALL_CACHE_BYTES = 60_000_000
ARROW = "application/vnd.apache.arrow.stream"
PREDICT = "/api/v1/ml/models/lead-scoring/predict"
BEST_TIME = "/api/v1/ml/models/engagement-prediction/optimal-time"
BATCH_PATH = "/api/v1/ml/models/lead-scoring/batch"
# Both imported with their bytecode written.
LIBRARIES = "import fastapi, sqlalchemy.orm, redis.asyncio, httpx, aiohttp, numpy"
API_START = """
from serving.app import create_app
from serving.settings import Settings
create_app(Settings(database_url="postgresql://x/y", worker_database_url="postgresql://x/y", redis_url="redis://x",
                    jwt_secret="x", phone_hmac_key="x"))
"""


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained lead model, its rows as training sees them, and the answers it gives in this process."""

    graph: bytes
    booster: Any
    manifest: dict[str, object]
    people: Dataset

    @property
    def matrix(self) -> NDArray[np.float32]:
        return self.people.matrix()[:BATCH]


def trained_model(name: str = "lead_scoring") -> Model:
    rows, _ = synthetic_dataset(name, 2_000, 8, seed=7, start=START)
    split = split_by_time(rows)
    trained = train(split, seed=7, now=START + dt.timedelta(weeks=WEEKS))
    graph, _ = export_checked(trained, split.test)
    people = split.newest_per_contact()
    booster = trained.estimator.get_booster() if name == "lead_scoring" else None
    if booster is not None:
        booster.set_param({"nthread": 1})
    return Model(graph, booster, make_manifest(trained, "1", split), people)


def promote(model: Model, bundles: Path, tenant_id: str) -> None:
    bundle = write_bundle(bundles, model.graph, model.manifest | {"tenant_id": tenant_id}, {})
    point_champion(bundles, bundle, [], START)


def fill_online(model: Model, client: redis.Redis, tenant_id: uuid.UUID, snapshot: dt.datetime) -> list[str]:
    """The ids of BATCH contacts whose features are online."""
    frame = model.people.frame.head(BATCH)
    numbers = np.full((BATCH, len(NUMBERS)), np.nan, np.float32)
    for position, name in enumerate(NUMBERS):
        if name in frame.columns:
            numbers[:, position] = frame[name].cast(float).fill_null(float("nan")).to_numpy()
    moments = np.full((BATCH, len(MOMENTS)), MISSING_MOMENT, np.int64)
    for position, name in enumerate(MOMENTS):
        if name in frame.columns:
            moments[:, position] = frame[name].dt.epoch("us").fill_null(int(MISSING_MOMENT)).to_numpy()
    values = pack(int(snapshot.timestamp() * 1e6), numbers, moments, frame["contact_attributes"].to_list())
    ids = [str(uuid.UUID(int=number)) for number in range(1, BATCH + 1)]
    client.mset({contact_key(tenant_id, one): value for one, value in zip(ids, values, strict=True)})
    client.set(timezone_key(tenant_id), "Europe/Berlin")
    return ids


@contextlib.contextmanager
def server(command: list[str], ready: str, folder: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """The process, once `ready` answers 200. Raises RuntimeError with its last lines when it never does."""
    log = folder / f"{uuid.uuid4().hex}.log"
    with log.open("wb") as out:
        started = subprocess.Popen(
            command, stdout=out, stderr=out, cwd=PROJECT_ROOT, env=os.environ | environment, start_new_session=True
        )
    try:
        until = time.monotonic() + 90
        while not _answers(ready):
            if started.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{command[:4]} does not answer:\n{log.read_text()[-3000:]}")
            time.sleep(0.1)
        yield started
    finally:
        family = [started, *psutil.Process(started.pid).children(recursive=True)] if started.poll() is None else []
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        started.wait(30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - loopback
            return bool(answer.status == 200)
    except OSError:
        return False


def api_command(port: int, processes: int = 1) -> list[str]:
    """The line of deploy/Procfile."""
    lines = (PROJECT_ROOT / "deploy" / "Procfile").read_text().splitlines()
    line = next(line.removeprefix("api:") for line in lines if line.startswith("api:"))
    for name, value in (("API_LISTEN", "127.0.0.1"), ("API_PORT", port), ("API_PROCESSES", processes)):
        line = line.replace(f"${{{name}}}", str(value))
    command = shlex.split(line)
    return [sys.executable, *command[1:]] if command[0] == "python" else command


def saved_for_mlflow(model: Model, folder: Path) -> Path:
    import mlflow.onnx
    import onnx

    saved = folder / "mlflow-model"
    mlflow.onnx.save_model(onnx.load_model_from_string(model.graph), str(saved), pip_requirements=["onnxruntime"])
    return saved


def mlflow_command(saved: Path, port: int, processes: int = 1) -> list[str]:
    mlflow_program = str(Path(sys.executable).parent / "mlflow")
    arguments = ["models", "serve", "-m", str(saved), "--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)]
    return [mlflow_program, *arguments, "--workers", str(processes)]


def answer_of(port: int, sent: bytes) -> bytes:
    """The body of one answer. Raises RuntimeError when it is not a 200."""
    import socket

    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(sent.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\nConnection: close\r\n", 1))
        received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n")[0]:
        raise RuntimeError(received[:2_000].decode(errors="replace"))
    return body


def given_columns(model: Model) -> dict[str, list[object]]:
    """The people's features as a caller gives them: one column for each input field."""
    frame = model.people.frame.head(BATCH)
    service = FEATURE_SERVICES["lead_scoring_v1"]
    columns: dict[str, list[object]] = {}
    names = (*service.features, *sorted(service.stored() - set(service.features) - {"contact_attributes"}))
    for name in names:
        values = frame[name]
        columns[name] = values.dt.strftime("%Y-%m-%dT%H:%M:%SZ").to_list() if name in MOMENTS else [
            None if value is None or value != value else value for value in values.to_list()
        ]  # fmt: skip
    attributes = [json.loads(text) for text in frame["contact_attributes"].to_list()]
    for name in attributes[0]:
        columns[f"contact.{name}"] = [each[name] for each in attributes]
    return columns


def arrow_body(columns: dict[str, list[object]]) -> bytes:
    arrays = {
        name: pa.array([dt.datetime.fromisoformat(str(v)) if v else None for v in values], pa.timestamp("us", "UTC"))
        if name in MOMENTS
        else pa.array(values, pa.float32() if name in NUMBERS else None)
        for name, values in columns.items()
    }
    table = pa.table(arrays)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def in_process(model: Model) -> dict[str, Callable[[NDArray[np.float32]], object]]:
    """The same model without a server, by what runs it, each in the thread that calls it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.graph, options, providers=["CPUExecutionProvider"])
    trees = boosted_trees(model.graph)
    assert trees is not None
    return {
        "ONNX Runtime": lambda matrix: session.run(["probabilities"], {"X": matrix}),
        "XGBoost": model.booster.inplace_predict,
        "our trees": trees.probability,
    }


def processor_seconds(process: subprocess.Popen[bytes]) -> float:
    """What it and its children have used so far."""
    parent = psutil.Process(process.pid)
    times = [each.cpu_times() for each in (parent, *parent.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def rows_a_second(judge: Callable[[NDArray[np.float32]], object], matrix: NDArray[np.float32], seconds: float) -> float:
    """Of ready matrices in two threads."""
    until = time.perf_counter() + seconds

    def work() -> int:
        done = 0
        while time.perf_counter() < until:
            judge(matrix)
            done += 1
        return done

    started = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        batches = sum(each.result() for each in [pool.submit(work) for _ in range(2)])
    return batches * len(matrix) / (time.perf_counter() - started)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with scratch_database("bench-serving") as (folder, urls):
        home = Home(folder)
        EmbeddedRedis(home).start()
        try:
            figures = measure(folder, urls, EmbeddedRedis(home).url(), given.seconds, given.rounds)
        finally:
            EmbeddedRedis(home).stop()
    return report("serving", figures)


def measure(folder: Path, urls: dict[str, str], redis_url: str, seconds: float, rounds: int) -> list[Figure]:
    model = trained_model()
    bundles = folder / "bundles"
    tenants = [create_tenant(urls["admin"], f"t{n}", "T", f"a@t{n}.example") for n in range(TENANTS)]
    with psycopg.connect(urls["admin"]) as connection:
        connection.execute("UPDATE api_keys SET rate_limit = 1000000000")
    for tenant in tenants:
        promote(model, bundles, str(tenant.tenant_id))
    promote(trained_model("engagement"), bundles, str(tenants[0].tenant_id))
    client = redis.Redis.from_url(redis_url)
    now = dt.datetime.now(dt.UTC)
    ids = fill_online(model, client, tenants[0].tenant_id, now)
    for tenant in tenants[1:]:
        client.copy(contact_key(tenants[0].tenant_id, ids[0]), contact_key(tenant.tenant_id, ids[0]))
    port = free_port(8_099)
    environment = {
        "SERVING_DATABASE_URL": urls["app"],
        "SERVING_WORKER_DATABASE_URL": urls["worker"],
        "SERVING_REDIS_URL": redis_url,
        "SERVING_JWT_SECRET": "a-secret-of-the-benchmark-that-is-long-enough",
        "SERVING_PHONE_HMAC_KEY": "a-key-of-the-benchmark",
        "SERVING_BUNDLES_DIR": str(bundles),
    }
    saved, mlflow_port, mlflow_port_of_two = saved_for_mlflow(model, folder), free_port(5_099), free_port(5_149)
    key = {"X_API_Key": tenants[0].api_key}
    single = [request("POST", PREDICT, json.dumps({"contact_id": one}).encode(), **key) for one in ids]
    best_time = [request("POST", BEST_TIME, json.dumps({"contact_id": one}).encode(), **key) for one in ids]
    rows = np.nan_to_num(model.matrix)
    named = [each["name"] for each in model.manifest["inputs"]]  # type: ignore[attr-defined]
    mlflow_one = [_invocation(dataframe_split={"columns": named, "data": row[None].tolist()}) for row in rows]
    mlflow_tensor = [_invocation(inputs=row[None].tolist()) for row in rows]
    mlflow_batch = _invocation(dataframe_split={"columns": named, "data": rows.tolist()})
    columns = given_columns(model)
    by_id = request("POST", BATCH_PATH, json.dumps({"contact_ids": ids}).encode(), **key)
    by_columns = request("POST", BATCH_PATH, json.dumps({"columns": columns}).encode(), **key)
    arrow = request("POST", BATCH_PATH, arrow_body(columns), content_type=ARROW, Accept=ARROW, **key)
    repeated = {name: values * (LARGE // BATCH) for name, values in columns.items()}
    large = request("POST", BATCH_PATH, arrow_body(repeated), content_type=ARROW, Accept=ARROW, **key)

    # MLflow looks for its web server by name.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    health = f"http://127.0.0.1:{port}/api/v1/health/health"
    port_of_two = free_port(8_149)
    health_of_two = f"http://127.0.0.1:{port_of_two}/api/v1/health/health"
    with (
        server(mlflow_command(saved, mlflow_port), f"http://127.0.0.1:{mlflow_port}/ping", folder, PATH=path) as theirs,
        server(
            mlflow_command(saved, mlflow_port_of_two, 2),
            f"http://127.0.0.1:{mlflow_port_of_two}/ping",
            folder,
            PATH=path,
        ),
        server(api_command(port), health, folder, **environment) as process,
        server(api_command(port_of_two, 2), health_of_two, folder, **environment),
    ):
        _check(port, single[0], by_id, by_columns, arrow)
        for sent in (mlflow_one[0], mlflow_tensor[0], mlflow_batch):
            answer_of(mlflow_port, sent)
        run_load(mlflow_port_of_two, [mlflow_batch], connections=2 * BATCH_CONNECTIONS, seconds=1)
        run_load(port_of_two, [by_columns], connections=2 * BATCH_CONNECTIONS, seconds=1)
        run_load(port, single, connections=CONNECTIONS, seconds=1)
        # In turns, so that whatever else the machine does falls on all alike; the idle server only waits.
        rounds_of: dict[str, list[Load]] = {}
        direct: dict[str, list[float]] = {}
        busy: dict[str, list[float]] = {"mlflow batch": [], "columns": [], "best time": []}
        for _ in range(rounds):
            for name, at, requests, connections in (
                ("mlflow", mlflow_port, mlflow_one, CONNECTIONS),
                ("mlflow tensor", mlflow_port, mlflow_tensor, CONNECTIONS),
                ("one", port, single, CONNECTIONS),
                ("noop", port, [request("GET", "/")], CONNECTIONS),
                ("mlflow batch", mlflow_port, [mlflow_batch], BATCH_CONNECTIONS),
                ("mlflow batch of two", mlflow_port_of_two, [mlflow_batch], 2 * BATCH_CONNECTIONS),
                ("columns", port, [by_columns], BATCH_CONNECTIONS),
                ("columns of two", port_of_two, [by_columns], 2 * BATCH_CONNECTIONS),
                ("ids", port, [by_id], BATCH_CONNECTIONS),
                ("arrow", port, [arrow], BATCH_CONNECTIONS),
                ("arrow of two", port_of_two, [arrow], 2 * BATCH_CONNECTIONS),
                ("large", port, [large], BATCH_CONNECTIONS),
                ("best time", port, best_time, 1),
            ):
                before = processor_seconds(theirs) + processor_seconds(process)
                done = run_load(at, requests, connections=connections, seconds=seconds)
                rounds_of.setdefault(name, []).append(done)
                if name in busy:
                    used = processor_seconds(theirs) + processor_seconds(process) - before
                    busy[name].append(used / len(done.latencies))
            for name, judge in in_process(model).items():
                measured = rows_a_second(judge, np.ascontiguousarray(model.matrix), seconds / 4)
                direct.setdefault(name, []).append(measured)
        keys = [tenant.api_key for tenant in tenants[1:]]
        misses, resident = _misses(port, ids[0], keys, process.pid)
    small_port = free_port(8_199)
    small = environment | {"SERVING_BUNDLE_CACHE_BYTES": str(SMALL_CACHE_BYTES)}
    health = f"http://127.0.0.1:{small_port}/api/v1/health/health"
    with server(api_command(small_port), health, folder, **small) as process:
        # The first answer loads what every bundle needs.
        _misses(small_port, ids[0], [tenants[0].api_key], process.pid)
        empty = psutil.Process(process.pid).memory_info().rss
        evicting, first_round = _misses(small_port, ids[0], keys, process.pid)
        again, held = _misses(small_port, ids[0], keys, process.pid)
    client.close()
    loads = {name: _middle(each) for name, each in rounds_of.items()}
    ours, mlflow, idle = loads["one"], loads["mlflow"], loads["noop"].rate
    # Processor seconds an answer, as rows in a second of them.
    a_second = {name: BATCH / statistics.median(each) for name, each in busy.items()}
    their_rows = loads["mlflow batch"].rate * BATCH
    alone = {name: statistics.median(each) for name, each in direct.items()}
    # The limit is what a library makes of the model, whichever makes more.
    library = max(alone.keys() - {"our trees"}, key=alone.__getitem__)
    return [
        figure("one contact, beside MLflow", ours.rate, "req/s", mlflow.rate, at_least=10),
        figure("one contact, beside MLflow's fastest form", ours.rate, "req/s", loads["mlflow tensor"].rate),
        figure("one contact, beside the no-op", ours.rate, "req/s", idle, at_least=0.5),
        figure("one contact, p50", 1e3 * ours.quantile(0.5), "ms"),
        figure("one contact, p99", 1e3 * ours.quantile(0.99), "ms", at_most=10),
        figure("best time to send, one at a time, median", 1e3 * loads["best time"].quantile(0.5), "ms", at_most=20),
        figure("best time to send, processor time", 1e3 * statistics.median(busy["best time"]), "ms", at_most=20),
        figure("MLflow, one row, p50", 1e3 * mlflow.quantile(0.5), "ms"),
        figure("MLflow, one row, p99", 1e3 * mlflow.quantile(0.99), "ms"),
        figure("batch of given columns (JSON), beside MLflow", loads["columns"].rate * BATCH, "rows/s", their_rows,
               at_least=8),
        figure("batch of given columns (JSON), rows in a second of processor time", a_second["columns"], "rows/s",
               a_second["mlflow batch"]),
        figure("batch of given columns (JSON), two processes each", loads["columns of two"].rate * BATCH, "rows/s",
               loads["mlflow batch of two"].rate * BATCH, at_least=8),
        figure("batch by contact id (JSON), beside MLflow", loads["ids"].rate * BATCH, "rows/s", their_rows),
        figure(f"batch, Arrow, two processes, beside {library} in two threads", loads["arrow of two"].rate * BATCH,
               "rows/s", alone[library], at_least=0.6),
        figure("batch, Arrow, two processes, beside our own trees in two threads", loads["arrow of two"].rate * BATCH,
               "rows/s", alone["our trees"]),
        figure(f"batch, Arrow, one process, beside {library} in two threads", loads["arrow"].rate * BATCH, "rows/s",
               alone[library]),
        figure(f"batch of {LARGE:,}, Arrow, one process, beside {library} in two threads",
               loads["large"].rate * LARGE, "rows/s", alone[library]),
        figure("batch, Arrow, beside MLflow", loads["arrow"].rate * BATCH, "rows/s", their_rows),
        figure("first answer of a tenant not loaded, median", 1e3 * statistics.median(misses), "ms", at_most=100),
        figure("first answer of a tenant not loaded, worst", 1e3 * max(misses), "ms", at_most=100),
        figure("worker with 200 tenants' bundles", resident / 1e6, "MB", at_most=1_000),
        figure("worker held to 60 MB of bundles: grown by", (first_round - empty) / 1e6, "MB", SMALL_CACHE_BYTES / 1e6,
               at_most=1),
        figure("worker held to 60 MB of bundles: after 400", (held - empty) / 1e6, "MB", SMALL_CACHE_BYTES / 1e6,
               at_most=1),
        figure("first answer of a tenant evicted before, worst", 1e3 * max([*evicting, *again]), "ms", at_most=100),
        figure("start of the API, processor time, beside what it is made of", start_seconds(API_START), "s",
               start_seconds(LIBRARIES), at_most=4),
        figure("failures", sum(load.failures for each in rounds_of.values() for load in each), "answers", at_most=0),
    ]  # fmt: skip


def start_seconds(code: str) -> float:
    """Processor seconds until a new interpreter has run `code`, the least of three."""
    timed = f"{code}\nimport time\nprint(time.process_time())"
    runs = (subprocess.run([sys.executable, "-c", timed], capture_output=True, check=True) for _ in range(3))
    return min(float(run.stdout) for run in runs)


def _invocation(**form: object) -> bytes:
    return request("POST", "/invocations", json.dumps(form).encode())


def _middle(loads: list[Load]) -> Load:
    return sorted(loads, key=lambda load: load.rate)[len(loads) // 2]


def _check(port: int, single: bytes, by_id: bytes, by_columns: bytes, arrow: bytes) -> None:
    """Every way of asking gives the same score. Raises RuntimeError when not."""
    one = json.loads(answer_of(port, single))["probability"]
    first = [
        json.loads(answer_of(port, by_id))["predictions"][0]["probability"],
        json.loads(answer_of(port, by_columns))["predictions"][0]["probability"],
        pa.ipc.open_stream(answer_of(port, arrow)).read_all()["probability"][0].as_py(),
    ]
    if any(abs(one - other) > 1e-3 for other in first):
        raise RuntimeError(f"the same contact scores {one}, and {first} in batches")


def _misses(port: int, contact: str, keys: list[str], pid: int) -> tuple[list[float], int]:
    """Seconds of each tenant's first prediction (its key already known), and the resident bytes afterwards."""
    taken = []
    for key in keys:
        answer_of(port, request("GET", "/api/v1/segments/", X_API_Key=key))
        started = time.perf_counter()
        answer_of(port, request("POST", PREDICT, json.dumps({"contact_id": contact}).encode(), X_API_Key=key))
        taken.append(time.perf_counter() - started)
    return taken, psutil.Process(pid).memory_info().rss


if __name__ == "__main__":
    sys.exit(main())
