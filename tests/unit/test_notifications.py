"""
Which log files a message announces, and which messages announce none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings, strategies as st

from exporter.errors import ForeignMessage
from exporter.notifications import Envelope, LogFile, Notification, read_notification

KEY = "AWSLogs/210987654321/CloudTrail/eu-central-1/2026/09/21/file.json.gz"
ANNOUNCED_MS = 1_789_992_000_123

Json = dict[str, Any]

quickly = settings(max_examples=200, deadline=None)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=10)
    | st.sampled_from(("s3:TestEvent", "ObjectCreated:Put", "2.5", "https://trail/%ff+")),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(("Records", "Event", "eventVersion", "eventName", "s3")) | st.text(),
            children,
            max_size=4,
        )
    ),
    max_leaves=10,
)


def s3_record(key: str = KEY, *, bucket: str = "trail", **fields: object) -> Json:
    """
    One record of an S3 event notification, with the key as S3 writes it.
    """
    return {
        "eventVersion": "2.5",
        "eventSource": "aws:s3",
        "awsRegion": "eu-central-1",
        "eventTime": "2026-09-21T12:00:00.123Z",
        "eventName": "ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
            "object": {"key": key, "size": 629, "sequencer": "0055AED6DCD90281E5"},
        },
    } | fields


def body(*records: object, **fields: object) -> str:
    return json.dumps({"Records": records} | fields)


def announced(*log_files: LogFile) -> Notification:
    return Notification(Envelope.S3, log_files)


FILE = LogFile("trail", KEY, ANNOUNCED_MS)


@pytest.mark.parametrize("minor", [0, 1, 2, 3, 4, 5, 6, 10, 99])
def test_every_minor_version_is_read(minor: int) -> None:
    """
    Versions 2.x add fields and change none.
    """
    assert announced(FILE) == read_notification(body(s3_record(eventVersion=f"2.{minor}")))


def test_each_record_is_a_log_file_of_its_own() -> None:
    """
    A notification may have several records, of several buckets; their order is kept.
    """
    message = body(s3_record(), s3_record("b", bucket="other"), s3_record("a"), s3_record())
    expected = (
        FILE,
        LogFile("other", "b", ANNOUNCED_MS),
        LogFile("trail", "a", ANNOUNCED_MS),
        FILE,
    )

    assert announced(*expected) == read_notification(message)


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("my+logs/file.json.gz", "my logs/file.json.gz"),
        ("my%20logs/file.json.gz", "my logs/file.json.gz"),
        ("a%2Bb.json.gz", "a+b.json.gz"),
        ("a%2bb.json.gz", "a+b.json.gz"),
        ("AWSLogs%2F210987654321%2Ffile.json.gz", "AWSLogs/210987654321/file.json.gz"),
        ("100%25+sure", "100% sure"),
        ("a%252Bb", "a%2Bb"),
        ("B%C3%BCcher/%E6%97%A5%E6%9C%AC/%F0%9F%93%9A", "Bücher/日本/📚"),
        ("Bücher", "Bücher"),
        ("%3Cfile%3E%26%22%27", "<file>&\"'"),
        ("line%0Abreak%00", "line\nbreak\0"),
        ("100%", "100%"),
        ("%zz%1", "%zz%1"),
        ("%FF", "\N{REPLACEMENT CHARACTER}"),
        ("../../%2e%2e/etc", "../../../etc"),
        ("", ""),
    ],
)
def test_a_key_is_form_encoded_once(written: str, key: str) -> None:
    """
    The key is decoded one time, and what is no encoding stays as it is.
    """
    assert announced(LogFile("trail", key, ANNOUNCED_MS)) == read_notification(
        body(s3_record(written))
    )


def test_unknown_fields_do_not_matter() -> None:
    """
    AWS adds fields at every level without notice.
    """
    one = s3_record(more={"Records": None}, glacierEventData=[])
    one["s3"]["more"] = 1
    one["s3"]["bucket"]["awsGeneratedTags"] = {"aws:cloudformation:stack-name": "trail"}
    one["s3"]["object"]["more"] = {"key": "another"}
    message = body(one, more=[1], Event="another", EventName="s3:ObjectCreated:Put", Key="a/b")

    assert announced(FILE) == read_notification(message)


def test_little_is_needed() -> None:
    """
    Version, name, bucket and key are enough; the time is an extra.
    """
    least = {
        "eventVersion": "2.1",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "trail"}, "object": {"key": "k"}},
    }

    assert announced(LogFile("trail", "k", None)) == read_notification(body(least))


@pytest.mark.parametrize("time", [None, "", "soon", "0000-00-00T00:00:00Z", 1_789_992_000, [], {}])
def test_an_unusable_time_is_none(time: object) -> None:
    """
    A log file is announced all the same.
    """
    assert announced(LogFile("trail", KEY, None)) == read_notification(
        body(s3_record(eventTime=time))
    )


@pytest.mark.parametrize(
    "name",
    [
        "ObjectCreated:Put",
        "ObjectCreated:Post",
        "ObjectCreated:Copy",
        "ObjectCreated:CompleteMultipartUpload",
        "ObjectCreated:SomethingNew",
        "s3:ObjectCreated:Put",
    ],
)
def test_every_way_to_create_an_object_is_read(name: str) -> None:
    """
    However an object came to be, it is announced; some stores write their own prefix.
    """
    assert announced(FILE) == read_notification(body(s3_record(eventName=name)))


@pytest.mark.parametrize(
    "name",
    [
        "ObjectRemoved:Delete",
        "ObjectRemoved:DeleteMarkerCreated",
        "s3:ObjectRemoved:Delete",
        "ObjectRestore:Completed",
        "ObjectTagging:Put",
        "ObjectAcl:Put",
        "LifecycleExpiration:Delete",
        "ObjectAnnotation:Put",
        "ObjectCreated",
        "",
    ],
)
def test_what_creates_nothing_announces_nothing(name: str) -> None:
    """
    A known message with nothing to read; a new object beside it is still announced.
    """
    other = s3_record("another", eventName=name)

    assert announced() == read_notification(body(other))
    assert announced(FILE) == read_notification(body(other, s3_record()))


def test_no_records_announce_nothing() -> None:
    """
    An empty list is a notification of nothing.
    """
    assert announced() == read_notification('{"Records":[]}')


@pytest.mark.parametrize(
    "message",
    [
        '{"Event":"s3:TestEvent"}',
        '{ "Service" : "Amazon S3", "Event" : "s3:TestEvent", "Bucket" : "trail", "HostId": "x" }',
    ],
)
def test_the_test_message_of_a_new_queue_is_known(message: str) -> None:
    """
    S3 sends it when a bucket notification is set up; it announces nothing.
    """
    assert Notification(Envelope.S3_TEST) == read_notification(message)


@pytest.mark.parametrize(
    "message",
    [
        "",
        " ",
        "CloudTrail validation message.",
        body(s3_record())[:-1],
        body(s3_record()) + "}",
        "\ufeff" + body(s3_record()),
        body(s3_record("\ud800")),
        "\ud800",
        "null",
        "5",
        '"s3:TestEvent"',
        f"[{json.dumps(s3_record())}]",
        "{}",
        '{"Event":"s3:OtherEvent"}',
        '{"Event":null}',
        '{"Event":["s3:TestEvent"]}',
        '{"Records":null}',
        '{"Records":{}}',
        '{"Records":"s3:TestEvent","Event":"s3:TestEvent"}',
        '{"Records":[null]}',
        '{"Records":[[]]}',
        body({"eventSource": "aws:sns", "EventVersion": "1.0", "Sns": {}}),
        body(s3_record(), {}),
        body(s3_record(s3=None)),
        body(s3_record(s3={"bucket": {"name": "trail"}})),
        body(s3_record(s3={"object": {"key": "k"}})),
        body(s3_record(s3={"bucket": {"name": None}, "object": {"key": "k"}})),
        body(s3_record(s3={"bucket": {"name": "trail"}, "object": {"key": 5}})),
        body(s3_record(eventName=None)),
        '{"source":"aws.s3","detail-type":"Bucket Created","detail":{}}',
        "{" * 100_000,
        '{"a":' * 100_000,
        '{"Records":' + "[" * 100_000,
        '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
    ids=lambda message: message[:40].encode(errors="replace").decode(),
)
def test_any_other_message_is_foreign(message: str) -> None:
    """
    No JSON, other JSON, half a notification: none of these is read, and none crashes.
    """
    with pytest.raises(ForeignMessage, match="notification"):
        read_notification(message)


@pytest.mark.parametrize("version", ["3.0", "1.9", "20.1", "2", "", "v2.5"])
@pytest.mark.parametrize("name", ["ObjectCreated:Put", "ObjectRemoved:Delete"])
def test_another_major_version_is_foreign(version: str, name: str) -> None:
    """
    Fields may mean something else there, so the whole message is left alone.
    """
    message = body(s3_record(), s3_record(eventVersion=version, eventName=name))

    with pytest.raises(ForeignMessage, match=r"not 2\.x"):
        read_notification(message)


@pytest.mark.parametrize("version", [None, 2, 2.5, ["2.5"]])
def test_a_version_that_is_no_text_is_foreign(version: object) -> None:
    """
    A record that does not say what it is is not guessed at.
    """
    with pytest.raises(ForeignMessage):
        read_notification(body(s3_record(eventVersion=version)))


def test_a_log_file_reads_as_its_address() -> None:
    """
    In logs and errors a log file is written as people write it.
    """
    assert f"s3://trail/{KEY}" == str(FILE)


@pytest.mark.parametrize("name", ["s3_v25", "minio", "testevent"])
def test_messages_as_they_were_seen_are_known(name: str, shared_data: Path) -> None:
    """
    Messages of S3 and of a store that imitates it, as they were captured.
    """
    message = json.loads((shared_data / "envelopes.json").read_text())[name]
    notification = read_notification(json.dumps(message))
    files = [log_file.key for log_file in notification.log_files]

    assert ("testevent" == name) == (notification.envelope is Envelope.S3_TEST)
    assert len(message.get("Records", ())) == len(files)
    assert all("AWSLogs/111122223333/CloudTrail/" in key for key in files)


@quickly
@given(st.text())
def test_a_written_key_is_read_back(key: str) -> None:
    """
    Any key comes out as it was, in either spelling of form encoding.
    """
    message = body(s3_record(quote_plus(key)), s3_record(quote(key, safe="")))

    assert [key, key] == [log_file.key for log_file in read_notification(message).log_files]


def is_a_notification_or_foreign(message: str) -> None:
    """
    Read a message. Anything but a notification or a foreign message is raised here.
    """
    try:
        notification = read_notification(message)
    except ForeignMessage:
        return
    assert isinstance(notification, Notification)


@quickly
@given(st.text(st.characters()))
def test_any_text_is_a_notification_or_foreign(message: str) -> None:
    """
    Whoever can send a message can write anything into it.
    """
    is_a_notification_or_foreign(message)
    is_a_notification_or_foreign(f'{{"Records":{message}}}')


@quickly
@given(json_values)
def test_any_json_is_a_notification_or_foreign(value: Any) -> None:
    """
    The same for JSON of any shape, also where records and their parts belong.
    """
    is_a_notification_or_foreign(json.dumps(value))
    is_a_notification_or_foreign(json.dumps({"Records": value}))
    is_a_notification_or_foreign(json.dumps({"Event": value}))


@quickly
@given(field=st.sampled_from(sorted(s3_record())), value=json_values)
def test_any_field_of_a_record_may_hold_anything(field: str, value: Any) -> None:
    """
    The same for a record in which one field is wrong.
    """
    is_a_notification_or_foreign(body(s3_record(), s3_record(**{field: value})))
