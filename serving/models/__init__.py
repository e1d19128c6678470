"""The operational tables. Importing this package registers all of them on `Base.metadata`."""

from serving.models.base import Base
from serving.models.campaign import Campaign
from serving.models.consent import Consent, ConsentEvent, Unsubscriber
from serving.models.contact import Contact, ContactIdentity
from serving.models.conversation import Conversation
from serving.models.deleted_row import DeletedRow
from serving.models.erased_event import ErasedEvent
from serving.models.erasure import Erasure
from serving.models.import_run import ImportRun
from serving.models.inbound_event import InboundEvent
from serving.models.message import Message, MessageStatusEvent, Reply
from serving.models.order import Conversion, Order, OrderItem
from serving.models.phone_number import PhoneNumber
from serving.models.score import Score, ScoreHistory
from serving.models.segment import Segment, SegmentMember
from serving.models.sending import Decision, OutboundMessage, SendAttempt
from serving.models.tenant import ApiKey, Tenant, TenantUser
from serving.models.usage import UsageBatch, UsageRecord
from serving.models.user import User

__all__ = [
    "ApiKey",
    "Base",
    "Campaign",
    "Consent",
    "ConsentEvent",
    "Contact",
    "ContactIdentity",
    "Conversation",
    "Conversion",
    "Decision",
    "DeletedRow",
    "ErasedEvent",
    "Erasure",
    "ImportRun",
    "InboundEvent",
    "Message",
    "MessageStatusEvent",
    "Order",
    "OrderItem",
    "OutboundMessage",
    "PhoneNumber",
    "Reply",
    "Score",
    "ScoreHistory",
    "Segment",
    "SegmentMember",
    "SendAttempt",
    "Tenant",
    "TenantUser",
    "Unsubscriber",
    "UsageBatch",
    "UsageRecord",
    "User",
]
