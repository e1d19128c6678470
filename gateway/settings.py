"""Settings of the gateway, prefix `GATEWAY_`. Read when a process is built, never on import."""

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.driver import NumberConfig


class GatewaySettings(BaseSettings):
    """The default number, used where a number has no credentials of its own. `base_url` defaults to the simulator's."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", extra="ignore")

    driver: str = "cloud_api"
    base_url: str = "http://127.0.0.1:8090"
    phone_number_id: str = "100000000000001"
    access_token: SecretStr = SecretStr("")
    app_secret: SecretStr = SecretStr("")
    verify_token: SecretStr = SecretStr("")
    timeout_seconds: float = 5.0
    max_connections: int = 64

    def number_config(self) -> NumberConfig:
        return NumberConfig(
            base_url=self.base_url,
            phone_number_id=self.phone_number_id,
            access_token=self.access_token.get_secret_value(),
            app_secret=self.app_secret.get_secret_value(),
            verify_token=self.verify_token.get_secret_value(),
            timeout_seconds=self.timeout_seconds,
            max_connections=self.max_connections,
        )
