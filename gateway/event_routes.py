"""The routes of events and webhooks, put together."""

from __future__ import annotations

from aiohttp import web

from gateway.door import Door
from gateway.event_stream import EventStreams
from gateway.events import Events
from gateway.settings import GatewaySettings
from gateway.webhook_deliveries import WebhookDeliveries
from gateway.webhook_endpoints import WebhookEndpoints
from storage.event_feed import EventFeed
from storage.webhook_ports import Webhooks

EVENTS = "/v1/events"
ENDPOINTS = "/v1/webhook_endpoints"


def event_routes(
    door: Door,
    streams: EventStreams,
    *,
    feed: EventFeed,
    webhooks: Webhooks,
    settings: GatewaySettings,
) -> list[web.RouteDef]:
    """Return the routes of the feed, of endpoints and of their deliveries."""
    merchant = door.merchant
    events = Events(feed)
    endpoints = WebhookEndpoints(webhooks, settings)
    deliveries = WebhookDeliveries(webhooks, feed, settings)
    one = f"{ENDPOINTS}/{{id}}"
    return [
        web.get(EVENTS, merchant(events.list_all), allow_head=False),
        web.get(f"{EVENTS}/stream", merchant(streams.stream), allow_head=False),
        web.get(f"{EVENTS}/{{id}}", merchant(events.show), allow_head=False),
        web.post(ENDPOINTS, merchant(endpoints.create)),
        web.get(ENDPOINTS, merchant(endpoints.list_all), allow_head=False),
        web.get(one, merchant(endpoints.show), allow_head=False),
        web.delete(one, merchant(endpoints.delete)),
        web.post(f"{one}/enable", merchant(endpoints.enable)),
        web.post(f"{one}/disable", merchant(endpoints.disable)),
        web.post(f"{one}/rotate_secret", merchant(endpoints.rotate_secret)),
        web.post(f"{one}/resend", merchant(deliveries.resend_range)),
        web.get(f"{one}/deliveries", merchant(deliveries.list_all), allow_head=False),
        web.post(f"{one}/deliveries/{{delivery}}/resend", merchant(deliveries.resend)),
    ]
