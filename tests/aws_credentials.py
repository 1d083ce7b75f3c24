"""
Where credentials come from: what a source needs in files and variables, and who issues them.

Each source is a function of a fake AWS, a home for its files and the seconds that an issued
key is good for. It returns variables, and leaves to the fake what answers the requests for
keys; an answer is given to the right proof only.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

from tests.aws_settings import LONG_TERM, Aws, Key, Request, refused_by, told, told_json
from tests.s3_fake import Answer

Source = Callable[[Aws, Path, float], Mapping[str, str]]

ROLE = "arn:aws:iam::123456789012:role/reader"
TOKEN = "a.proof.of-identity"

STATIC = {
    "AWS_ACCESS_KEY_ID": LONG_TERM.id,
    "AWS_SECRET_ACCESS_KEY": LONG_TERM.secret,
}


def _until(seconds: float) -> str:
    end = datetime.now(UTC) + timedelta(seconds=seconds)
    return end.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def environment(_aws: Aws, _home: Path, _seconds: float) -> Mapping[str, str]:
    """
    A key in the environment.
    """
    return STATIC


def temporary_environment(aws: Aws, _home: Path, _seconds: float) -> Mapping[str, str]:
    """
    A key for a while in the environment, as people paste them.
    """
    key = aws.issue()
    return {
        "AWS_ACCESS_KEY_ID": key.id,
        "AWS_SECRET_ACCESS_KEY": key.secret,
        "AWS_SESSION_TOKEN": key.token,
    }


def _as_file(key: Key) -> str:
    lines = [f"aws_access_key_id = {key.id}", f"aws_secret_access_key = {key.secret}"]
    return "\n".join(lines + ([f"aws_session_token = {key.token}"] if key.token else [])) + "\n"


def credentials_file(_aws: Aws, home: Path, _seconds: float) -> Mapping[str, str]:
    """
    The file that the AWS CLI writes.
    """
    (home / "credentials").write_text(f"[default]\n{_as_file(LONG_TERM)}")
    return {}


def profile(aws: Aws, home: Path, _seconds: float) -> Mapping[str, str]:
    """
    A profile of the shared configuration file.
    """
    text = f"[default]\n{_as_file(LONG_TERM)}[profile reader]\n{_as_file(aws.issue())}"
    (home / "config").write_text(text)
    return {"AWS_PROFILE": "reader"}


def process(aws: Aws, home: Path, seconds: float) -> Mapping[str, str]:
    """
    A command that prints keys; this one has some written down and prints each once.
    """
    keys = home / "keys"
    keys.mkdir()
    for number in range(30):
        key = aws.issue()
        known = {"AccessKeyId": key.id, "SecretAccessKey": key.secret, "SessionToken": key.token}
        written = {"Version": 1, "Expiration": _until(seconds), **known}
        (keys / f"{number:02}").write_text(json.dumps(written))
    script = 'cd "$0" && set -- * && cat "$1" && rm "$1"'
    command = shlex.join(["sh", "-c", script, str(keys)])
    (home / "config").write_text(f"[default]\ncredential_process = {command}\n")
    return {}


def _assumed(aws: Aws, action: str, seconds: float) -> Answer:
    key = aws.issue()
    fields = {
        "AccessKeyId": key.id,
        "SecretAccessKey": key.secret,
        "SessionToken": key.token,
        "Expiration": _until(seconds),
    }
    text = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
    for name in ("Credentials", f"{action}Result", f"{action}Response"):
        text = f"<{name}>{text}</{name}>"
    return told(200, text.encode())


def web_identity(aws: Aws, home: Path, seconds: float) -> Mapping[str, str]:
    """
    A role for the token of a service account (IRSA): STS exchanges it.
    """
    (home / "token").write_text(TOKEN)

    def sts(request: Request) -> Answer | None:
        asked = {name: value for name, [value] in parse_qs(request.body.decode()).items()}
        if asked.get("WebIdentityToken") != TOKEN or asked.get("RoleArn") != ROLE:
            return refused_by("sts", 403, "AccessDenied")
        return _assumed(aws, "AssumeRoleWithWebIdentity", seconds)

    aws.issuer = sts
    return {
        "AWS_ENDPOINT_URL_STS": aws.plain,
        "AWS_ROLE_ARN": ROLE,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(home / "token"),
    }


def assumed_role(aws: Aws, home: Path, seconds: float) -> Mapping[str, str]:
    """
    A profile's role, assumed with the keys of another profile.
    """
    role = f"[profile reader]\nrole_arn = {ROLE}\nsource_profile = default\n"
    (home / "config").write_text(f"[default]\n{_as_file(LONG_TERM)}{role}")

    def sts(request: Request) -> Answer | None:
        if not request.signed or request.key_id != LONG_TERM.id:
            return refused_by("sts", 403, "AccessDenied")
        return _assumed(aws, "AssumeRole", seconds)

    aws.issuer = sts
    return {"AWS_ENDPOINT_URL_STS": aws.plain, "AWS_PROFILE": "reader"}


def _metadata(aws: Aws, seconds: float) -> Answer:
    key = aws.issue()
    return told_json(
        200,
        Code="Success",
        AccessKeyId=key.id,
        SecretAccessKey=key.secret,
        Token=key.token,
        Expiration=_until(seconds),
    )


def pod_identity(aws: Aws, home: Path, seconds: float) -> Mapping[str, str]:
    """
    The agent of EKS Pod Identity on the node, which takes the pod's token from a file.
    """
    (home / "token").write_text(TOKEN)

    def agent(request: Request) -> Answer | None:
        if request.path == "/v1/credentials" and request.headers.get("authorization") == TOKEN:
            return _metadata(aws, seconds)
        return None

    aws.issuer = agent
    return {
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(home / "token"),
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{aws.plain}/v1/credentials",
    }


def instance(aws: Aws, _home: Path, seconds: float) -> Mapping[str, str]:
    """
    The role of an EC2 instance, by the second version of its metadata service.
    """
    roles = "/latest/meta-data/iam/security-credentials/"

    def metadata(request: Request) -> Answer | None:
        if request.method == "PUT" and request.path == "/latest/api/token":
            return told(200, TOKEN.encode())
        if request.headers.get("x-aws-ec2-metadata-token") != TOKEN:
            return told(401, b"")
        if request.path == roles:
            return told(200, b"reader")
        return _metadata(aws, seconds) if request.path == f"{roles}reader" else None

    aws.issuer = metadata
    return {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": aws.plain}


def sso(aws: Aws, home: Path, seconds: float) -> Mapping[str, str]:
    """
    IAM Identity Center, after ``aws sso login`` has left its token in the home.
    """
    tokens = home / ".aws" / "sso" / "cache"
    tokens.mkdir(parents=True)
    name = sha1(b"company", usedforsecurity=False).hexdigest()
    token = {"accessToken": TOKEN, "expiresAt": _until(8 * 3600)}
    (tokens / f"{name}.json").write_text(json.dumps(token))
    (home / "config").write_text(
        "[default]\n"
        "sso_session = company\n"
        "sso_account_id = 123456789012\n"
        "sso_role_name = reader\n"
        "[sso-session company]\n"
        "sso_region = eu-central-1\n"
        "sso_start_url = https://company.awsapps.com/start\n"
    )

    def portal(request: Request) -> Answer | None:
        asked = parse_qs(urlsplit(request.url).query)
        proven = request.headers.get("x-amz-sso_bearer_token") == TOKEN
        wanted = {"account_id": ["123456789012"], "role_name": ["reader"]}
        if request.path != "/federation/credentials" or asked != wanted or not proven:
            return None
        key = aws.issue()
        issued = {
            "accessKeyId": key.id,
            "secretAccessKey": key.secret,
            "sessionToken": key.token,
            "expiration": round((datetime.now(UTC).timestamp() + seconds) * 1000),
        }
        return told_json(200, roleCredentials=issued)

    aws.issuer = portal
    return {"AWS_ENDPOINT_URL_SSO": aws.plain}


LASTING: dict[str, Source] = {
    "environment": environment,
    "temporary environment": temporary_environment,
    "credentials file": credentials_file,
    "profile": profile,
    "instance": instance,
}
"""
Sources of keys that the SDK does not replace within a test: those of an instance it would use
for some minutes longer, rather than ask for new ones all the time.
"""

RENEWED: dict[str, Source] = {
    "process": process,
    "web identity": web_identity,
    "assumed role": assumed_role,
    "pod identity": pod_identity,
    "sso": sso,
}
"""Sources that are asked again before a key expires."""
