"""Whether a campaign could be sent as it stands: its type, the variables of its text, its template at the provider."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

from gateway.errors import GatewayError, NotSent, OutcomeUnknown, Reaction
from gateway.types import Template
from serving.errors import Conflict, Unavailable
from serving.models import Campaign, PhoneNumber

# (number, template name) -> the provider's templates of that name; None where the provider keeps none. It is not asked
# about a number whose business account nobody named.
Templates = Callable[[PhoneNumber, str], list[Template] | None]

VARIABLES = frozenset({"name", "1"})
_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]{0,64}?)\s*\}\}")
_EXACT = frozenset({"{{name}}", "{{1}}"})


class CampaignNotSendable(Conflict):
    """`errors` names each field that stands in the way, as a validation error does."""

    title = "The campaign cannot be sent as it stands"


class ProviderUnavailable(Unavailable):
    title = "The provider did not say which templates it has"


def check_sendable(campaign: Campaign, number: PhoneNumber, templates: Templates) -> None:
    """Asks the provider about the campaign's template, which may take seconds.

    Raises: CampaignNotSendable, ProviderUnavailable.
    """
    errors = check_type(campaign.type)
    unknown = sorted({match[0] for match in _PLACEHOLDER.finditer(campaign.message_template) if match[0] not in _EXACT})
    for placeholder in unknown:
        errors.append(
            _error("message_template", f"{placeholder} is not known; {{{{name}}}} is the contact's name", "variable")
        )
    if campaign.template_name is not None and number.business_account_id is not None:
        errors += _asked(campaign, number, templates)
    if errors:
        raise CampaignNotSendable(errors=errors)


def check_type(campaign_type: str) -> list[dict[str, str]]:
    """What stands in the way of a campaign of this type."""
    if campaign_type == "broadcast":
        return []
    return [_error("type", f"{campaign_type} campaigns cannot be sent yet; broadcast can", "type_unavailable")]


def check_end(campaign: Campaign, now: dt.datetime) -> None:
    """Raises: CampaignNotSendable for a campaign that ended before `now`."""
    if campaign.end_date is not None and campaign.end_date <= now:
        text = f"it ended at {campaign.end_date.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
        raise CampaignNotSendable(errors=[_error("end_date", text, "ended")])


def template_needs_name(campaign: Campaign) -> bool:
    """Whether the contact's name is a variable of the campaign's template; the provider refuses empty ones."""
    return campaign.template_name is not None and _gives_name(campaign)


def _gives_name(campaign: Campaign) -> bool:
    return any(placeholder in campaign.message_template for placeholder in _EXACT)


def _asked(campaign: Campaign, number: PhoneNumber, templates: Templates) -> list[dict[str, str]]:
    try:
        found = templates(number, campaign.template_name or "")
    except GatewayError as error:
        detail = error.detail or type(error).__name__
        if isinstance(error, NotSent | OutcomeUnknown) or error.reaction is Reaction.BACK_OFF:
            raise ProviderUnavailable(detail) from error
        # Asking again would be answered the same: the account or the token is not the right one.
        text = f"the provider does not show its templates: {detail}"
        return [_error("template_name", text, "template_list_refused")]
    return [] if found is None else _template_errors(campaign, found)


def _template_errors(campaign: Campaign, found: list[Template]) -> list[dict[str, str]]:
    name, language = campaign.template_name, campaign.template_language
    if not found:
        return [_error("template_name", f"the provider has no template {name}", "template_unknown")]
    template = next((one for one in found if one.language == language), None)
    if template is None:
        there = ", ".join(sorted({one.language for one in found}))
        text = f"the provider has {name} in {there}, not in {language}"
        return [_error("template_language", text, "template_unknown")]
    if template.status.upper() != "APPROVED":
        text = f"the provider calls {name} {template.status.lower()}"
        return [_error("template_name", text, "template_not_approved")]
    given = 1 if _gives_name(campaign) else 0
    if template.variables is not None and template.variables != given:
        text = f"{name} takes {template.variables} variables, the text gives {given}"
        return [_error("message_template", text, "template_variables")]
    return []


def _error(field: str, message: str, code: str) -> dict[str, str]:
    return {"field": field, "message": message, "code": code}
