"""
Credentials, Region and clients, all from botocore's own chain.

Rules:

1. ``AWS_REGION`` is read here and comes before ``AWS_DEFAULT_REGION``: every other AWS
   SDK reads it and Kubernetes sets it, botocore alone does not.
2. Every answer to a request, and every request without one, is told to ``observe``.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

Observe = Callable[[str, str, str], None]
"""Called with service, operation and the code of the answer; ``ok`` is success."""

OK = "ok"
NO_ANSWER = "no_answer"

CONNECTIONS_MAX = 50
CONNECT_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 60


class Session:
    """
    Makes clients that report their requests.
    """

    def __init__(self, observe: Observe) -> None:
        self._session = get_session()
        self._observe = observe

    @property
    def region(self) -> str | None:
        """
        Where requests go unless the caller says otherwise; None where nothing says so.
        """
        configured: str | None = self._session.get_config_variable("region")
        return os.environ.get("AWS_REGION") or configured

    @asynccontextmanager
    async def client(self, service: str, *, region: str | None = None) -> AsyncIterator[Any]:
        """
        A client of the service, closed at the end of the block.

        Raises:
            botocore.exceptions.NoRegionError: Neither the caller nor the environment names one.
        """
        config = AioConfig(
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            max_pool_connections=CONNECTIONS_MAX,
            read_timeout=READ_TIMEOUT_SECONDS,
            retries={"mode": "standard"},
            user_agent_extra="codecommit-exporter",
        )
        async with self._session.create_client(
            service, region_name=region or self.region, config=config
        ) as client:
            client.meta.events.register("after-call", self._answered)
            client.meta.events.register("after-call-error", self._unanswered)
            yield client

    def _answered(self, *, event_name: str, parsed: Mapping[str, Any], **_more: object) -> None:
        _, service, operation = event_name.split(".", 2)
        self._observe(service, operation, parsed.get("Error", {}).get("Code", OK))

    def _unanswered(self, *, event_name: str, **_more: object) -> None:
        _, service, operation = event_name.split(".", 2)
        self._observe(service, operation, NO_ANSWER)
