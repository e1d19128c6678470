"""The OpenAPI document as the application really answers: every error is a problem document."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from serving.errors import PROBLEM_JSON, Problem, ValidationProblem

BEARER, API_KEY = "bearer", "apiKey"
SCHEMES = {
    BEARER: {"type": "http", "scheme": "bearer", "description": "An access token of a login, or an API key"},
    API_KEY: {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_SCHEMAS = "#/components/schemas/"
_AUTHENTICATED = {
    "401": "Credentials are missing or not valid",
    "403": "Your role does not allow this",
    "429": "Too many requests: Retry-After says when to come back",
}
_FASTAPIS_OWN = ("HTTPValidationError", "ValidationError")


def install(app: FastAPI) -> None:
    """Makes `app.openapi()` give this document."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _mended(made())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _mended(document: dict[str, Any]) -> dict[str, Any]:
    components = document.setdefault("components", {})
    components["securitySchemes"] = SCHEMES
    schemas = components.setdefault("schemas", {})
    for name in _FASTAPIS_OWN:
        schemas.pop(name, None)
    for model in (Problem, ValidationProblem):
        described = model.model_json_schema(ref_template=_SCHEMAS + "{model}")
        schemas.update(described.pop("$defs", {}))
        schemas[model.__name__] = described
    for operations in document["paths"].values():
        for operation in operations.values():
            _mend(operation)
    return document


def _mend(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    for response in responses.values():
        # OpenAPI 3.1 knows no schema of a stream's items; FastAPI writes the one of 3.2.
        for content in response.get("content", {}).values():
            if content.pop("itemSchema", None) is not None:
                content["schema"] = {"type": "string"}
    if "security" in operation:
        for status, description in _AUTHENTICATED.items():
            responses.setdefault(status, problem(description))
        # They are the security schemes.
        operation["parameters"] = [part for part in operation["parameters"] if part["name"].lower() != "x-api-key"]
    description = responses.get("422", {}).get("description", "A value is not acceptable")
    if description == "Validation Error":
        description = "A value is not acceptable"
    responses["422"] = problem(description, ValidationProblem)
    responses.setdefault("default", problem("Any other error"))


def problem(description: str, model: type[Problem] = Problem) -> dict[str, Any]:
    """An answer of OpenAPI that is a problem document."""
    return {"description": description, "content": {PROBLEM_JSON: {"schema": {"$ref": _SCHEMAS + model.__name__}}}}
