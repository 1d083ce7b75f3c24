"""
What a key tells of the object under it.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from exporter.keys import ObjectKind, delivery_minute_ms, object_kind
from tests.records import OWNER, REGION

quickly = settings(max_examples=300, deadline=None)

NAME = f"{OWNER}_CloudTrail_{REGION}_20260921T1205Z_0123456789abcdef.json.gz"
DIGEST_NAME = f"{OWNER}_CloudTrail-Digest_{REGION}_my_trail-1.2_{REGION}_20260921T120500Z.json.gz"
ORGANIZATION = "o-exampleorgid"

LAYOUTS = {
    "account": f"AWSLogs/{OWNER}",
    "organization": f"AWSLogs/{ORGANIZATION}/{OWNER}",
    "prefix": f"some/prefix/AWSLogs/{OWNER}",
    "prefix and organization": f"prefix/AWSLogs/{ORGANIZATION}/{OWNER}",
    "Control Tower": f"{ORGANIZATION}/AWSLogs/{ORGANIZATION}/{OWNER}",
    "Control Tower, before": f"{ORGANIZATION}/AWSLogs/{OWNER}",
    "empty folders": f"/prefix//AWSLogs/{OWNER}",
    "prefix like a folder": f"CloudTrail-Digest/Config/AWSLogs/{OWNER}",
    "prefix like a layout": f"AWSLogs/{OWNER}/CloudTrail-Digest/AWSLogs/{OWNER}",
    "prefix like the next layout": f"AWSLogs/{OWNER}/AWSLogs/{ORGANIZATION}/{OWNER}",
    "prefix like a name": f"{DIGEST_NAME}/x_CloudTrail-Insight_y/AWSLogs/{OWNER}",
    "any prefix": f"Bücher\n📚/AWSLogs/{OWNER}",
}
any_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


def named(kind: str) -> str:
    """
    The name of what CloudTrail writes beside log files, in the same form.
    """
    return NAME.replace("CloudTrail", f"CloudTrail-{kind}")


BEHIND_THE_ACCOUNT = [
    (f"CloudTrail/{REGION}/2026/09/21/{NAME}", ObjectKind.LOG_FILE),
    (f"CloudTrail/{REGION}/2026/09/21/renamed.json", ObjectKind.LOG_FILE),
    (f"CloudTrail-Digest/{REGION}/2026/09/21/{DIGEST_NAME}", ObjectKind.DIGEST),
    (f"CloudTrail-Digest/{REGION}/2026/09/21/renamed.json.gz", ObjectKind.DIGEST),
    (f"CloudTrail-Insight/{REGION}/{named('Insight')}", ObjectKind.INSIGHT),
    (
        f"CloudTrail-NetworkActivity/{REGION}/{named('NetworkActivity')}",
        ObjectKind.NETWORK_ACTIVITY,
    ),
    (f"CloudTrail-Aggregated/{REGION}/{named('Aggregated')}", ObjectKind.AGGREGATED),
    ("CloudTrail-Lake/Query/2026/09/21/0a1b2c3d/result_1.csv.gz", ObjectKind.LAKE),
    ("CloudTrail-Lake/Query/2026/09/21/0a1b2c3d/result_sign.json", ObjectKind.LAKE),
    (f"Config/{REGION}/2026/9/21/ConfigHistory/{OWNER}_Config_x_1.json.gz", ObjectKind.CONFIG),
    ("Config/ConfigWritabilityCheckFile", ObjectKind.CONFIG),
    ("CloudTrail-New/x.json.gz", ObjectKind.OTHER),
    (f"CloudTrail-New/{REGION}/{named('New')}", ObjectKind.OTHER),
    (f"vpcflowlogs/{REGION}/2026/09/21/x.log.gz", ObjectKind.OTHER),
    (f"elasticloadbalancing/{REGION}/2026/09/21/x.log", ObjectKind.OTHER),
    ("cloudtrail/x.json.gz", ObjectKind.OTHER),
    ("CloudTrail/", ObjectKind.MARKER),
    ("CloudTrail-Digest/", ObjectKind.MARKER),
    (f"CloudTrail/{REGION}/2026/09/21/{NAME}/", ObjectKind.MARKER),
    ("", ObjectKind.MARKER),
]


@any_layout
@pytest.mark.parametrize(("rest", "expected"), BEHIND_THE_ACCOUNT)
def test_the_folder_behind_the_account_decides(
    layout: str, rest: str, expected: ObjectKind
) -> None:
    """
    In every layout, and nothing in the prefix does.
    """
    assert expected == object_kind(f"{layout}/{rest}")


@any_layout
@pytest.mark.parametrize("folder", ["CloudTrail", "CloudTrail-Digest", "Config", "copies"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (NAME, ObjectKind.LOG_FILE),
        (NAME.removesuffix(".gz"), ObjectKind.LOG_FILE),
        (NAME.removesuffix(".json.gz"), ObjectKind.LOG_FILE),
        (DIGEST_NAME, ObjectKind.DIGEST),
        (DIGEST_NAME.replace("my_trail-1.2", "20260921T1205Z_trail"), ObjectKind.DIGEST),
        (DIGEST_NAME.replace("Z.json", "Z_backfill.json"), ObjectKind.DIGEST),
        (named("Insight"), ObjectKind.INSIGHT),
        (named("NetworkActivity"), ObjectKind.NETWORK_ACTIVITY),
        (named("Aggregated"), ObjectKind.AGGREGATED),
    ],
)
def test_a_name_of_cloudtrails_own_decides_first(
    layout: str, folder: str, name: str, expected: ObjectKind
) -> None:
    """
    A file that was copied elsewhere is still what its name says.
    """
    assert expected == object_kind(f"{layout}/{folder}/{name}")
    assert expected == object_kind(f"{folder}/{name}")
    assert expected == object_kind(name)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "file",
        "file.json.gz",
        f"trail/{OWNER}/CloudTrail-Digest/file.json.gz",
        f"AWSLogs/{OWNER}/file.json.gz",
        "AWSLogs/CloudTrail-Digest/file.json.gz",
        f"AWSLogs/{OWNER}0/CloudTrail-Digest/file.json.gz",
        f"AWSLogs/{OWNER[1:]}/CloudTrail-Digest/file.json.gz",
        f"AWSLogs/{ORGANIZATION}/CloudTrail-Digest/file.json.gz",
        f"AWSLogs/{ORGANIZATION}/{ORGANIZATION}/{OWNER}/Config/file.json.gz",
        f"MyAWSLogs/{OWNER}/CloudTrail-Digest/file.json.gz",
        f"AWSLogs2/{OWNER}/CloudTrail-Digest/file.json.gz",
        f"awslogs/{OWNER}/Config/file.json.gz",
        "AWSLogs/٢١٠٩٨٧٦٥٤٣٢١/Config/file.json.gz",
        "CloudTrail-Digest/file.json.gz",
        "x_CloudTrail-Insight_y/file.json.gz",
        "x_CloudTrail-Digest_y.json.gz",
        f"copy-of-{DIGEST_NAME}",
        f"{DIGEST_NAME}.tmp",
        f"{DIGEST_NAME}\n",
        f"prefix/AWSLogs/{OWNER}\n/Config/file",
        "\ud800\0",
    ],
)
def test_a_key_that_tells_nothing_may_be_a_log_file(key: str) -> None:
    """
    Where neither name nor folder is known, the content has to be looked at.
    """
    assert ObjectKind.LOG_FILE == object_kind(key)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (f"AWSLogs/{OWNER}/CloudTrail/{REGION}/2026/09/21/{NAME}", 1_789_992_300_000),
        (f"my_20160101T0000Z_prefix/{NAME}", 1_789_992_300_000),
        (NAME.removesuffix(".gz"), 1_789_992_300_000),
        (NAME + "\n", 1_789_992_300_000),
        (NAME.replace("20260921T1205Z", "20240229T2359Z"), 1_709_251_140_000),
        (f"{NAME}/renamed.json.gz", None),
        (NAME.replace("20260921T1205Z", "20260921T120500Z"), None),
        (NAME.replace("20260921T1205Z", "20260921T1205"), None),
        (NAME.replace("20260921T1205Z", "20260230T1205Z"), None),
        (NAME.replace("20260921T1205Z", "20261321T1205Z"), None),
        (NAME.replace("20260921T1205Z", "20260921T2405Z"), None),
        (NAME.replace("20260921T1205Z", "00000921T1205Z"), None),
        (NAME.replace("20260921T1205Z", "\N{FULLWIDTH DIGIT TWO}0260921T1205Z"), None),
        ("20260921T1205Z", None),
        ("", None),
    ],
)
def test_the_minute_of_delivery_is_in_the_name(key: str, expected: int | None) -> None:
    """
    The file's name tells it, not the folders; a minute that never was is none.
    """
    assert expected == delivery_minute_ms(key)


@quickly
@given(
    st.text(st.characters())
    | st.lists(
        st.sampled_from(
            (
                "AWSLogs",
                OWNER,
                ORGANIZATION,
                "CloudTrail",
                "Config",
                "/",
                "/",
                "_",
                NAME,
                "20260921",
            )
        )
        | st.text(max_size=3)
    ).map("".join)
)
def test_any_key_is_of_some_kind(key: str) -> None:
    """
    Whatever a key is, it is answered, and what is behind a known layout does not depend on it.
    """
    minute_ms = delivery_minute_ms(key)

    assert object_kind(key) in ObjectKind
    assert minute_ms is None or minute_ms > 0
    assert ObjectKind.CONFIG == object_kind(f"{key}/AWSLogs/{OWNER}/Config/x")


@pytest.mark.parametrize(
    "piece",
    [
        f"AWSLogs/{OWNER}/",
        f"AWSLogs/{OWNER}/x",
        f"AWSLogs/{ORGANIZATION}",
        "_20260921T1205Z_",
        f"{OWNER}_CloudTrail_",
        "1",
        "a_",
        "/",
    ],
)
@pytest.mark.parametrize("start", ["", f"{OWNER}_CloudTrail_{REGION}_", "AWSLogs/o-"])
@pytest.mark.timeout(5)
def test_no_key_takes_long(start: str, piece: str) -> None:
    """
    A message may hold keys a thousand times as long as S3 allows, made to be hard to read.
    """
    for end in ("", "/", "/x", "."):
        key = start + piece * (1_000_000 // len(piece)) + end
        object_kind(key)
        delivery_minute_ms(key)
