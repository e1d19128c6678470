"""Dagster over its GraphQL: runs are started, watched and stopped there, by whatever process it is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from serving.errors import Unavailable

PARTITION = "dagster/partition"
PARTITIONS = "tenant"

_REPOSITORIES = """query { repositoriesOrError { __typename ... on RepositoryConnection {
    nodes { name location { name } jobs { name } } } } }"""
_ADD_PARTITION = """mutation ($key: String!, $def: String!, $repository: RepositorySelector!) {
    addDynamicPartition(partitionKey: $key, partitionsDefName: $def, repositorySelector: $repository) {
        __typename ... on PythonError { message } } }"""
_RUN = """runId jobName status creationTime startTime endTime tags { key value } stepKeysToExecute
    assetSelection { path } executionPlan { steps { key } } stepStats { stepKey status startTime endTime }"""
_LAUNCH = f"""mutation ($params: ExecutionParams!) {{ launchRun(executionParams: $params) {{
    __typename ... on LaunchRunSuccess {{ run {{ {_RUN} }} }} ... on PythonError {{ message }} }} }}"""
_ONE = f"query ($id: ID!) {{ runOrError(runId: $id) {{ __typename ... on Run {{ {_RUN} }} }} }}"
_MANY = f"""query ($filter: RunsFilter, $limit: Int, $cursor: String) {{
    runsOrError(filter: $filter, limit: $limit, cursor: $cursor) {{
        __typename ... on Runs {{ results {{ {_RUN} }} }} }} }}"""
_TERMINATE = """mutation ($id: String!) { terminateRun(runId: $id, terminatePolicy: SAFE_TERMINATE) {
    __typename ... on TerminateRunFailure { message } ... on PythonError { message } } }"""


class TrainingUnavailable(Unavailable):
    title = "Training cannot be reached: Dagster does not answer as it should"


@dataclass(frozen=True, slots=True)
class Step:
    key: str
    status: str
    started_at: dt.datetime | None
    ended_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Run:
    """A run of Dagster's. `status` is one of its own; `planned` are the steps it has, `steps` those that began."""

    run_id: str
    job: str
    status: str
    partition: str | None
    assets: tuple[tuple[str, ...], ...]
    planned: tuple[str, ...]
    steps: tuple[Step, ...]
    created_at: dt.datetime
    started_at: dt.datetime | None
    ended_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Job:
    name: str
    repository: str
    location: str


class Dagster:
    """Every method raises TrainingUnavailable when Dagster is away, or answers with an error of its own.

    `url` is `unix:` and the path of the socket its web server listens on, or an http address.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 10, launch_seconds: float = 60) -> None:
        scheme, _, socket = url.partition(":")
        on_socket = scheme == "unix"
        self._client = httpx.AsyncClient(
            base_url="http://localhost" if on_socket else url,
            transport=httpx.AsyncHTTPTransport(uds=socket) if on_socket else None,
            timeout=timeout_seconds,
            trust_env=False,
        )
        # A launch may start a process before it answers; given up too early, a run goes on that nobody was told of.
        self._launching = httpx.Timeout(timeout_seconds, read=launch_seconds)

    async def job(self, name: str) -> Job:
        """Where the job is loaded."""
        found = (await self._ask(_REPOSITORIES))["repositoriesOrError"]
        jobs = {
            job["name"]: Job(job["name"], node["name"], node["location"]["name"])
            for node in found.get("nodes", [])
            for job in node["jobs"]
        }
        if name not in jobs:
            raise TrainingUnavailable(f"Dagster has loaded no job {name}")
        return jobs[name]

    async def launch(self, job: Job, partition: str, assets: Sequence[Sequence[str]], tags: dict[str, str]) -> Run:
        """A new run of those assets for the partition, which is made known first."""
        repository = {"repositoryName": job.repository, "repositoryLocationName": job.location}
        named: dict[str, Any] = {"key": partition, "def": PARTITIONS, "repository": repository}
        added = await self._ask(_ADD_PARTITION, **named)
        _expect(added["addDynamicPartition"], "AddDynamicPartitionSuccess", "DuplicateDynamicPartitionError")
        every = tags | {PARTITION: partition}
        params = {
            "selector": repository | {"jobName": job.name, "assetSelection": [{"path": list(one)} for one in assets]},
            "runConfigData": {},
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in every.items()]},
        }
        launched = (await self._ask(_LAUNCH, timeout=self._launching, params=params))["launchRun"]
        _expect(launched, "LaunchRunSuccess")
        return _run(launched["run"])

    async def run(self, run_id: str) -> Run | None:
        """The run; None when there is no such run."""
        found = (await self._ask(_ONE, id=run_id))["runOrError"]
        _expect(found, "Run", "RunNotFoundError")
        return _run(found) if found["__typename"] == "Run" else None

    async def runs(
        self, partition: str, *, limit: int, statuses: Sequence[str] = (), before: str | None = None
    ) -> list[Run]:
        """The partition's runs, newest first; those older than the run `before` when given."""
        wanted: dict[str, Any] = {"tags": [{"key": PARTITION, "value": partition}]}
        if statuses:
            wanted["statuses"] = list(statuses)
        found = (await self._ask(_MANY, filter=wanted, limit=limit, cursor=before))["runsOrError"]
        _expect(found, "Runs")
        return [_run(each) for each in found["results"]]

    async def terminate(self, run_id: str) -> bool:
        """Asks the run to stop, and tells whether it heard: one that has ended does not, nor one whose process is only
        being started."""
        stopped = (await self._ask(_TERMINATE, id=run_id))["terminateRun"]
        _expect(stopped, "TerminateRunSuccess", "TerminateRunFailure")
        return bool(stopped["__typename"] == "TerminateRunSuccess")

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _ask(self, query: str, *, timeout: httpx.Timeout | None = None, **variables: Any) -> dict[str, Any]:
        try:
            answer = await self._client.post(
                "/graphql",
                json={"query": query, "variables": variables},
                timeout=timeout or self._client.timeout,
            )
            answer.raise_for_status()
            content = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise TrainingUnavailable("Dagster does not answer; is it running?") from error
        if not isinstance(content, dict) or content.get("errors") or not content.get("data"):
            raise TrainingUnavailable("Dagster does not understand the question; is it of another version?")
        data: dict[str, Any] = content["data"]
        return data


def _expect(answer: dict[str, Any], *kinds: str) -> None:
    if answer["__typename"] not in kinds:
        raise TrainingUnavailable(f"Dagster refused ({answer['__typename']})")


def _run(found: dict[str, Any]) -> Run:
    planned = found["stepKeysToExecute"] or [step["key"] for step in (found["executionPlan"] or {}).get("steps", [])]
    tags = {tag["key"]: tag["value"] for tag in found["tags"]}
    return Run(
        run_id=found["runId"],
        job=found["jobName"],
        status=found["status"],
        partition=tags.get(PARTITION),
        assets=tuple(tuple(one["path"]) for one in found["assetSelection"] or ()),
        planned=tuple(planned),
        steps=tuple(
            Step(step["stepKey"], step["status"] or "", _moment(step["startTime"]), _moment(step["endTime"]))
            for step in found["stepStats"]
        ),
        created_at=dt.datetime.fromtimestamp(found["creationTime"], dt.UTC),
        started_at=_moment(found["startTime"]),
        ended_at=_moment(found["endTime"]),
    )


def _moment(seconds: float | None) -> dt.datetime | None:
    return None if seconds is None else dt.datetime.fromtimestamp(seconds, dt.UTC)
