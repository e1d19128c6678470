"""Settings of the simulator process, prefix `GATEWAY_SIMULATOR_`; command-line options win over the environment."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AnyHttpUrl, Field, SecretStr, TypeAdapter, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_URL = TypeAdapter(AnyHttpUrl)


class SimulatorSettings(BaseSettings):
    """One simulated number with its people. It always listens on loopback; there is no setting for that."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_SIMULATOR_", extra="ignore")

    port: Annotated[int, Field(ge=0, le=65535)] = 8090
    state_dir: Path
    webhook_url: str
    app_secret: SecretStr
    access_token: SecretStr
    verify_token: SecretStr = SecretStr("")
    phone_number_id: Annotated[str, Field(pattern=r"^\d{1,20}$")] = "100000000000001"
    waba_id: Annotated[str, Field(pattern=r"^\d{1,20}$")] = "200000000000001"
    display_number: Annotated[str, Field(pattern=r"^\d{7,15}$")] = "999100000001"
    people: Annotated[int, Field(ge=1, le=200_000)] = 5000
    seed: int = 7
    time_compression: Annotated[float, Field(gt=0)] = 3600.0
    messages_per_second: Annotated[float, Field(gt=0)] = 1000.0
    # How the way to the provider behaves: a send is taken first, then its answer is late by a time between none and
    # twice this, or a proxy answers in its place with a 5xx of its own.
    answer_seconds: Annotated[float, Field(ge=0)] = 0.0
    proxy_errors: Annotated[float, Field(ge=0, le=1)] = 0.0

    @field_validator("webhook_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        _URL.validate_python(value)
        return value

    @field_validator("app_secret", "access_token")
    @classmethod
    def _is_given(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value():
            raise ValueError("must not be empty")
        return value

    def identity(self) -> dict[str, Any]:
        """What a state directory is bound to: with any of these changed, its truths would be about other people."""
        return {"phone_number_id": self.phone_number_id, "people": self.people, "seed": self.seed}
