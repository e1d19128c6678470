"""The routes: the Cloud API's own, and /simulator/* for whoever runs the experiment."""

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from pydantic import BaseModel, ValidationError, model_validator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from gateway.simulator.engine import HistoryExists, Refused, Simulator
from gateway.simulator.history import Attributes, HistoryRequest, TrueSend
from gateway.simulator.observer import Observer
from gateway.simulator.people import Person
from gateway.simulator.settings import SimulatorSettings
from gateway.simulator.truth import ContactTruth
from gateway.simulator.wire import accepted_body, error_body

_LANGUAGE_DEFAULT = "en"
LINES_A_PIECE = 2_000
PROXY_STATUSES = (500, 502, 503, 504, 524)


class CampaignDescription(BaseModel):
    """The body of POST /simulator/campaigns: exactly one of the two ways to recognise a send."""

    template_name: str | None = None
    callback_prefix: str | None = None
    attributes: Attributes

    @model_validator(mode="after")
    def _one_way(self) -> "CampaignDescription":
        if (self.template_name is None) == (self.callback_prefix is None):
            raise ValueError("give template_name or callback_prefix")
        return self


def build_app(settings: SimulatorSettings) -> Starlette:
    """The ASGI application; its lifespan owns the simulator."""
    routes = [
        Route("/{version}/{object_id}/messages", post_message, methods=["POST"]),
        Route("/{version}/{object_id}/message_templates", templates, methods=["GET", "POST"]),
        Route("/{version}/{object_id}/subscribed_apps", post_subscription, methods=["POST"]),
        Route("/simulator/history", post_history, methods=["POST"]),
        Route("/simulator/campaigns", post_campaign, methods=["POST"]),
        Route("/simulator/say", post_say, methods=["POST"]),
        Route("/simulator/preferences", post_preference, methods=["POST"]),
        Route("/simulator/status", get_status),
        Route("/simulator/people", get_people),
        Route("/simulator/truth/sends", get_true_sends),
        Route("/simulator/truth/contacts", get_true_contacts),
        Route("/simulator/health", get_health),
    ]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        simulator = app.state.simulator = Simulator(settings)
        await simulator.start()
        yield
        await simulator.stop()

    return Starlette(routes=routes, lifespan=lifespan)


def _simulator(request: Request) -> Simulator:
    simulator: Simulator = request.app.state.simulator
    return simulator


def _refusal(code: int, detail: str = "") -> JSONResponse:
    status, body = error_body(code, detail)
    return JSONResponse(body, status)


def _is_authorized(request: Request) -> bool:
    token = _simulator(request).settings.access_token.get_secret_value()
    return hmac.compare_digest(request.headers.get("authorization", "").encode(), f"Bearer {token}".encode())


async def _object(request: Request) -> dict[str, Any] | None:
    try:
        body = json.loads(await request.body())
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


async def post_message(request: Request) -> Response:
    simulator = _simulator(request)
    if not _is_authorized(request):
        return _refusal(190)
    body = await _object(request)
    if body is None or request.path_params["object_id"] != simulator.number.phone_number_id:
        return _refusal(100, "no such phone number id, or the body is no JSON object")
    if body.get("status") == "read":
        return JSONResponse({"success": True})
    await simulator.ready.wait()
    try:
        person, sent_id = simulator.send(body, time.time())
    except Refused as refused:
        return _refusal(refused.code, refused.detail)
    await simulator.durable()
    way = simulator.settings
    await asyncio.sleep(simulator.chance.uniform(0, 2 * way.answer_seconds))
    if simulator.chance.random() < way.proxy_errors:
        return Response("<html>the way was lost</html>", simulator.chance.choice(PROXY_STATUSES))
    return JSONResponse(accepted_body(str(body["to"]), person.wa_id, sent_id))


async def templates(request: Request) -> Response:
    simulator = _simulator(request)
    if not _is_authorized(request):
        return _refusal(190)
    if request.path_params["object_id"] != simulator.number.waba_id:
        return _refusal(100, "no such business account")
    if request.method == "GET":
        wanted = request.query_params.get("name", "")
        return JSONResponse({"data": [row for row in simulator.templates.listed() if wanted in row["name"]]})
    body = await _object(request)
    if body is None or not isinstance(body.get("name"), str) or not body["name"]:
        return _refusal(100, "name is required")
    category = str(body.get("category", "MARKETING")).upper()
    language = str(body.get("language", _LANGUAGE_DEFAULT))
    template_id = simulator.templates.register(body["name"], language, category, body.get("components") or [])
    await simulator.durable()
    return JSONResponse({"id": str(template_id), "status": "APPROVED", "category": category})


async def post_subscription(request: Request) -> Response:
    simulator = _simulator(request)
    if not _is_authorized(request):
        return _refusal(190)
    if request.path_params["object_id"] != simulator.number.waba_id:
        return _refusal(100, "no such business account")
    problem = await simulator.subscription_problem()
    return _refusal(100, f"webhook verification failed: {problem}") if problem else JSONResponse({"success": True})


def _invalid(error: ValidationError) -> JSONResponse:
    problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    return JSONResponse({"error": "; ".join(problems)}, 422)


async def post_history(request: Request) -> Response:
    simulator = _simulator(request)
    try:
        asked = HistoryRequest.model_validate_json(await request.body() or b"{}")
        run_id = simulator.start_history(asked, datetime.now(UTC))
    except ValidationError as error:
        return _invalid(error)
    except HistoryExists as error:
        return JSONResponse({"error": str(error)}, 409)
    return JSONResponse({"run_id": run_id}, 202)


async def post_campaign(request: Request) -> Response:
    simulator = _simulator(request)
    try:
        described = CampaignDescription.model_validate_json(await request.body())
    except ValidationError as error:
        return _invalid(error)
    match = "template_name" if described.template_name is not None else "callback_prefix"
    value = described.template_name if described.template_name is not None else described.callback_prefix
    simulator.templates.describe(match, str(value), described.attributes)
    await simulator.durable()
    return JSONResponse({match: value, "attributes": described.attributes.model_dump(mode="json")}, 201)


async def post_say(request: Request) -> Response:
    simulator = _simulator(request)
    body = await _object(request) or {}
    person = simulator.by_wa_id.get(str(body.get("phone", "")).removeprefix("+"))
    kind = "button" if "button" in body else "text"
    text = body.get(kind)
    if person is None or not isinstance(text, str) or not text:
        return JSONResponse({"error": "phone of a simulated person and text, or button, are required"}, 422)
    await simulator.ready.wait()
    said_id = simulator.say(person, text, str(body.get("reply_to") or ""), time.time(), kind)
    await simulator.durable()
    return JSONResponse({"provider_id": said_id}, 201)


async def post_preference(request: Request) -> Response:
    simulator = _simulator(request)
    body = await _object(request) or {}
    person = simulator.by_wa_id.get(str(body.get("phone", "")).removeprefix("+"))
    value = body.get("value")
    if person is None or value not in ("stop", "resume"):
        return JSONResponse({"error": "phone of a simulated person and value, stop or resume, are required"}, 422)
    await simulator.ready.wait()
    simulator.prefer(person, value, time.time())
    await simulator.durable()
    return JSONResponse({"value": value}, 201)


async def get_status(request: Request) -> Response:
    return JSONResponse(_simulator(request).status())


async def get_health(request: Request) -> Response:
    simulator = _simulator(request)
    is_ready = simulator.ready.is_set() and simulator.state != "failed"
    return JSONResponse({"status": "ok" if is_ready else simulator.state}, 200 if is_ready else 503)


async def get_people(request: Request) -> Response:
    simulator = _simulator(request)
    await simulator.ready.wait()

    def row(person: Person) -> dict[str, Any]:
        joined_at = simulator.states[person.index].joined_at
        joined = _iso(joined_at) if joined_at is not None and person.joins_by_keyword else None
        return {"phone": "+" + person.wa_id, "name": person.name, "language": person.language, "joined": joined}

    return JSONResponse([row(person) for person in simulator.people])


async def get_true_sends(request: Request) -> Response:
    simulator = _simulator(request)
    await simulator.ready.wait()
    observer = None if simulator.history is None else await asyncio.to_thread(_observer, simulator)
    of_history = set() if simulator.history is None else {send.provider_id for send in simulator.history.sends}

    def row(send: TrueSend) -> dict[str, Any]:
        # Only a history is complete enough to tell what a silence means.
        known = observer.send(send) if observer is not None and send.provider_id in of_history else (None, None)
        return {
            "provider_id": send.provider_id,
            "phone": "+" + simulator.people[send.person].wa_id,
            "sent_at": _iso(send.sent_at),
            "p_read": send.p_read,
            "p_order": send.p_order,
            "p_read_observed": known[0],
            "p_order_observed": known[1],
        }

    return _json_lines(row(send) for send in list(simulator.true_sends()))


async def get_true_contacts(request: Request) -> Response:
    simulator = _simulator(request)
    await simulator.ready.wait()
    if simulator.history is None:
        return JSONResponse({"error": "there is no history yet"}, 409)
    try:
        # A plus sign left bare in a query string arrives as a space.
        moments = [_moment(text.replace(" ", "+")) for text in request.query_params["at"].split(",")]
    except (KeyError, ValueError):
        return JSONResponse({"error": "at must be ISO 8601 moments with a zone, separated by commas"}, 422)
    truth = ContactTruth(simulator.people, simulator.history, max(moments))
    observer = await asyncio.to_thread(_observer, simulator)
    return _json_lines(
        {
            **row,
            "p_inactive_28d_observed": seen["p_inactive_28d"],
            "p_order_7d_observed": seen["p_order_7d"],
            "at": _iso(moment),
        }
        for moment in moments
        for row, seen in zip(truth.at(moment), observer.contacts(truth, moment), strict=True)
    )


def _observer(simulator: Simulator) -> Observer:
    assert simulator.history is not None  # noqa: S101
    return Observer(simulator.people, simulator.history)


def _moment(text: str) -> float:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a moment needs a zone")
    return moment.timestamp()


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _json_lines(rows: Iterator[dict[str, Any]]) -> Response:
    return StreamingResponse(_lines(rows), media_type="application/x-ndjson")


def _lines(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Many lines a piece: each piece costs a change of threads."""
    while piece := list(islice(rows, LINES_A_PIECE)):
        yield "".join(json.dumps(row) + "\n" for row in piece)
