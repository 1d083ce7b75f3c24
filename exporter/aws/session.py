"""
Credentials, Region and clients, all from botocore's own chain.

Rules:

1. ``AWS_REGION`` is read here and comes before ``AWS_DEFAULT_REGION``: every other AWS
   SDK reads it and Kubernetes sets it, botocore alone does not.
2. Every answer to a request, and every request without one, is told to ``observe``:
   retries and redirects too.
3. No request goes where the SDK did not send it. S3 knows a bucket by its Region, so the SDK
   follows a redirect by signing the request anew for the Region that the answer names, and
   remembers it for the bucket. Where an answer's ``Location`` leads is of no interest.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.credentials import ReadOnlyCredentials
from botocore.model import OperationModel

from exporter.aws.models import Models
from exporter.aws.shortcut import OK, Client, Observe, Transport

NO_ANSWER = "no_answer"

CONNECTIONS_MAX = 50
CONNECT_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 60

_DEFAULTS = {"retry_mode": "standard", "response_checksum_validation": "when_required"}
"""
Ours in place of botocore's; what the user's environment or configuration says comes before
them. A log file is compressed, and gzip has a checksum of its own, which is always checked.
"""


class Session:
    """
    Makes clients that report their requests.
    """

    def __init__(self, observe: Observe) -> None:
        self._session = get_session()
        folders = self._session.get_component("data_loader").search_paths
        self._session.register_component("data_loader", Models(folders))
        variables = self._session.session_var_map
        for variable, default in _DEFAULTS.items():
            name, environment, _, conversion = variables[variable]
            variables[variable] = (name, environment, default, conversion)
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
            http_session_cls=Transport,
            max_pool_connections=CONNECTIONS_MAX,
            read_timeout=READ_TIMEOUT_SECONDS,
            user_agent_extra="codecommit-exporter",
        )
        async with self._session.create_client(
            service, region_name=region or self.region, config=config
        ) as client:
            client.meta.events.register("response-received", self._received)
            client.meta.events.register_first("needs-retry.s3", _help_to_follow)
            yield Client(client, self._credentials, self._observe)

    async def _credentials(self) -> ReadOnlyCredentials | None:
        found = await self._session.get_credentials()
        return await found.get_frozen_credentials() if found else None

    def _received(
        self, *, event_name: str, parsed_response: Mapping[str, Any] | None, **_more: object
    ) -> None:
        _, service, operation = event_name.split(".", 2)
        if parsed_response is None:
            code = NO_ANSWER
        else:
            code = parsed_response.get("Error", {}).get("Code", OK)
        self._observe(service, operation, code)


def _help_to_follow(
    *,
    operation: OperationModel,
    request_dict: Mapping[str, Any],
    response: tuple[Any, Mapping[str, Any]] | None,
    **_more: object,
) -> None:
    """
    Tell botocore, before it looks at an answer of S3, what it does not see for itself.

    It finds the Region that an AuthorizationHeaderMalformed asks for only in the answer's
    text, and S3 names it in a header. And where an answer names none it asks HeadBucket; if
    that is redirected without one too, it would ask HeadBucket again, without end.
    """
    if response is None:
        return
    _, parsed = response
    region = parsed["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
    if region:
        parsed.get("Error", {}).setdefault("Region", region)
    elif operation.name == "HeadBucket":
        request_dict["context"]["s3_redirect"]["redirected"] = True
