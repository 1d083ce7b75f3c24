"""
botocore's models, read by the program's own loader.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from botocore.exceptions import UnknownServiceError
from botocore.loaders import Loader

from exporter.aws.models import Models


@pytest.mark.parametrize("service", ["s3", "sqs", "sts", "sso", "sso-oidc"])
@pytest.mark.parametrize("kind", ["service-2", "endpoint-rule-set-1", "paginators-1"])
def test_a_model_is_the_one_that_botocore_reads(service: str, kind: str) -> None:
    """
    In content and, which botocore relies on, in order.
    """
    ours, botocores = (
        loader.load_service_model(service, kind)
        for loader in (Models(Loader().search_paths), Loader())
    )

    assert json.dumps(botocores) == json.dumps(ours)


def test_a_service_that_there_is_none_of_is_refused() -> None:
    """
    As botocore refuses it.
    """
    with pytest.raises(UnknownServiceError):
        Models(Loader().search_paths).load_service_model("s4", "service-2")


def test_a_model_of_the_users_comes_first(tmp_path: Path) -> None:
    """
    One in a folder of AWS_DATA_PATH, before botocore's own.
    """
    (tmp_path / "s3" / "2006-03-01").mkdir(parents=True)
    (tmp_path / "s3" / "2006-03-01" / "service-2.json").write_text('{"the": "user\'s"}')
    models = Models([str(tmp_path), *Loader().search_paths])

    assert "user's" == models.load_service_model("s3", "service-2")["the"]
