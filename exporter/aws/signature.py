"""
AWS Signature Version 4, for requests that are much alike.

Facts used, from the AWS Signature Version 4 documentation: a request is made canonical as its
method, path, query, headers, names of the headers and digest of the body, line by line; what
is signed is the digest of that; the key for it follows from the secret, the day, the Region
and the service, so one key does for a day.
"""

from __future__ import annotations

from hashlib import sha256
from hmac import HMAC, digest, new

from botocore.credentials import ReadOnlyCredentials

ALGORITHM = "AWS4-HMAC-SHA256"


class Signer:
    """
    Signs requests to one service in one Region.

    Args:
        region: The Region's name, as the signature has it.
        service: The service's name there.
    """

    def __init__(self, region: str, service: str) -> None:
        self._region = region
        self._service = service
        self._mac = new(b"", digestmod="sha256")
        self._mac_is_for: tuple[str, str | None] = ("", None)

    def authorization(
        self, credentials: ReadOnlyCredentials, moment: str, signed_headers: str, canonical: str
    ) -> str:
        """
        The Authorization header's value.

        Args:
            credentials: Who asks.
            moment: When, as in ``20260131T235959Z``.
            signed_headers: The names of the headers that are signed, with ``;`` between them.
            canonical: The canonical request.
        """
        day = moment[:8]
        scope = f"{day}/{self._region}/{self._service}/aws4_request"
        hashed = sha256(canonical.encode()).hexdigest()
        signed = f"{ALGORITHM}\n{moment}\n{scope}\n{hashed}".encode()
        mac = self._mac_for(day, credentials.secret_key).copy()
        mac.update(signed)
        return (
            f"{ALGORITHM} Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={signed_headers}, Signature={mac.hexdigest()}"
        )

    def _mac_for(self, day: str, secret_key: str | None) -> HMAC:
        """
        What signs on a day, of which each signature takes a copy.
        """
        if self._mac_is_for != (day, secret_key):
            key = f"AWS4{secret_key}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = digest(key, part.encode(), "sha256")
            self._mac, self._mac_is_for = new(key, digestmod="sha256"), (day, secret_key)
        return self._mac
