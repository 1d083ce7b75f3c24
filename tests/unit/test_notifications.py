"""
Which log files a message announces, and which messages announce none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings, strategies as st

from exporter.errors import ForeignMessage, Permanent, UnreadableMessage
from exporter.notifications import (
    SNS_ENVELOPES_MAX,
    Envelope,
    InlineRecord,
    LogFile,
    Notification,
    read_notification,
)
from tests import records
from tests.announcements import (
    TIME,
    VALIDATION,
    Json,
    cloudtrail,
    config,
    config_change,
    eventbridge,
    eventbridge_cloudtrail,
    eventbridge_s3,
    minio,
    s3,
    s3_record,
    s3_test,
    sns,
    subscription,
)

KEY = "my logs/AWSLogs/210987654321/CloudTrail/eu-central-1/2026/09/21/file+1.json.gz"
ENCODED = "my+logs/AWSLogs/210987654321/CloudTrail/eu-central-1/2026/09/21/file%2B1.json.gz"
TIME_MS = 1_789_992_000_000
RECORD = records.api_call("PutFile", "tools", eventTime=TIME)

quickly = settings(max_examples=200, deadline=None)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=10)
    | st.sampled_from(
        (
            *("s3:TestEvent", "ObjectCreated:Put", "2.5", "aws:s3", "aws.s3", "https://trail/%ff+"),
            *("Notification", "SubscriptionConfirmation", "Object Created", VALIDATION),
            *("AWS API Call via CloudTrail", s3(s3_record(ENCODED)), sns(cloudtrail(KEY))),
        )
    ),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ("Records", "Event", "Type", "Message", "s3Bucket", "s3ObjectKey", "s3")
            )
            | st.sampled_from(("source", "detail-type", "detail", "eventSource", "eventName"))
            | st.text(),
            children,
            max_size=4,
        )
    ),
    max_leaves=10,
)


def announced(*log_files: LogFile) -> Notification:
    return Notification(Envelope.S3, log_files)


FILE = LogFile("trail", KEY, TIME_MS)
INLINE = InlineRecord(json.dumps(RECORD).encode(), records.OWNER, TIME_MS)

KNOWN = {
    "S3": (s3(s3_record(ENCODED)), announced(FILE)),
    "MinIO": (minio(KEY), announced(FILE)),
    "S3, several": (
        s3(s3_record(ENCODED), s3_record("b", "other")),
        announced(FILE, LogFile("other", "b", TIME_MS)),
    ),
    "S3, removal": (s3(s3_record(ENCODED, eventName="ObjectRemoved:Delete")), announced()),
    "S3, test": (s3_test(), Notification(Envelope.S3_TEST)),
    "S3 by EventBridge": (eventbridge_s3(KEY), Notification(Envelope.EVENTBRIDGE_S3, (FILE,))),
    "S3 by EventBridge, removal": (
        eventbridge_s3(KEY, detail_type="Object Deleted"),
        Notification(Envelope.EVENTBRIDGE_S3),
    ),
    "CloudTrail": (
        cloudtrail(KEY, "b"),
        Notification(Envelope.CLOUDTRAIL, (LogFile("trail", KEY), LogFile("trail", "b"))),
    ),
    "CloudTrail, validation": (VALIDATION, Notification(Envelope.CLOUDTRAIL_VALIDATION)),
    "AWS Config": (config(KEY), Notification(Envelope.CLOUDTRAIL, (LogFile("trail", KEY),))),
    "CloudTrail by EventBridge": (
        eventbridge_cloudtrail(RECORD),
        Notification(Envelope.EVENTBRIDGE_CLOUDTRAIL, inline=INLINE),
    ),
    "SNS, subscription": (subscription(), Notification(Envelope.SNS_SUBSCRIPTION)),
    "SNS, end of subscription": (
        subscription("UnsubscribeConfirmation"),
        Notification(Envelope.SNS_SUBSCRIPTION),
    ),
}
"""Every message that is known, in plain form, and what it is."""

WITH_FIELDS = [message for message, _ in KNOWN.values() if message != VALIDATION]

any_known = pytest.mark.parametrize(("message", "expected"), KNOWN.values(), ids=KNOWN)
any_json_known = pytest.mark.parametrize(
    ("message", "expected"), [known for known in KNOWN.values() if known[0] != VALIDATION]
)


@pytest.mark.parametrize("envelopes", range(SNS_ENVELOPES_MAX + 1))
@any_known
def test_every_message_is_known(message: str, expected: Notification, envelopes: int) -> None:
    """
    A message is what it is, however many envelopes of SNS are around it.
    """
    assert expected == read_notification(sns(message, envelopes))


@pytest.mark.parametrize("message", [message for message, _ in KNOWN.values()], ids=KNOWN)
def test_envelopes_have_an_end(message: str) -> None:
    """
    One envelope of SNS too many, and a message is not looked for any further.
    """
    with pytest.raises(UnreadableMessage, match="envelopes"):
        read_notification(sns(message, SNS_ENVELOPES_MAX + 1))


@any_json_known
def test_unknown_fields_do_not_matter(message: str, expected: Notification) -> None:
    """
    AWS adds fields at every level without notice.
    """
    more = {"more": [1, {"s3Bucket": None}], "Key": "a/b", "EventName": "s3:ObjectRemoved:Delete"}

    assert expected == read_notification(json.dumps(json.loads(message) | more))
    assert expected == read_notification(sns(json.dumps(more | json.loads(message)), more=more))


@any_known
def test_white_space_around_does_not_matter(message: str, expected: Notification) -> None:
    """
    A message may have been sent again by hand.
    """
    assert expected == read_notification(f"\r\n {message}\n")


@any_json_known
def test_white_space_within_does_not_matter(message: str, expected: Notification) -> None:
    """
    A message may be spread over lines; a record in it is cut out with its lines.
    """
    notification = read_notification(json.dumps(json.loads(message), indent=2))

    assert (expected.envelope, expected.log_files) == (
        notification.envelope,
        notification.log_files,
    )
    assert bool(expected.inline) == bool(notification.inline)


@pytest.mark.parametrize("minor", [0, 1, 2, 3, 4, 5, 6, 10, 99])
def test_every_minor_version_is_read(minor: int) -> None:
    """
    Versions 2.x add fields and change none.
    """
    message = s3(s3_record(ENCODED, eventVersion=f"2.{minor}"))

    assert announced(FILE) == read_notification(message)


@pytest.mark.parametrize("source", ["aws:s3", "minio:s3", "ceph:s3"])
def test_stores_that_imitate_s3_are_read(source: str) -> None:
    """
    They call themselves by names of their own.
    """
    assert announced(FILE) == read_notification(s3(s3_record(ENCODED, eventSource=source)))


def test_each_record_is_a_log_file_of_its_own() -> None:
    """
    A notification may have several records, of several buckets; their order is kept.
    """
    message = s3(s3_record(ENCODED), s3_record("b", "other"), s3_record("a"), s3_record(ENCODED))
    expected = (
        FILE,
        LogFile("other", "b", TIME_MS),
        LogFile("trail", "a", TIME_MS),
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
    ],
)
def test_a_key_is_form_encoded_once(written: str, key: str) -> None:
    """
    The key is decoded one time, and what is no encoding stays as it is.
    """
    assert announced(LogFile("trail", key, TIME_MS)) == read_notification(s3(s3_record(written)))


@pytest.mark.parametrize("key", ["my+logs/100%25/%2B", "a b", "Bücher/📚", 'a"b\\'])
def test_other_keys_are_plain(key: str) -> None:
    """
    EventBridge and CloudTrail write a key as it is, so nothing in it is decoded.
    """
    for message in (eventbridge_s3(key), cloudtrail(key), config(key)):
        assert [key] == [log_file.key for log_file in read_notification(message).log_files]


def test_little_is_needed() -> None:
    """
    Who it is from, bucket and key are enough; the time is an extra.
    """
    place = {"bucket": {"name": "trail"}, "object": {"key": "k"}}
    source = {"eventSource": "aws:s3", "eventVersion": "2.1", "eventName": "ObjectCreated:Put"}
    known = LogFile("trail", "k", None)

    assert announced(known) == read_notification(s3(source | {"s3": place}))
    assert Notification(Envelope.EVENTBRIDGE_S3, (known,)) == read_notification(
        json.dumps({"source": "aws.s3", "detail-type": "Object Created", "detail": place})
    )
    assert Notification(
        Envelope.EVENTBRIDGE_CLOUDTRAIL, inline=InlineRecord(b"{}", None, None)
    ) == read_notification('{"detail-type":"AWS API Call via CloudTrail","detail":{}}')
    assert announced(known) == read_notification(
        json.dumps({"Type": "Notification", "Message": s3(source | {"s3": place})})
    )


@pytest.mark.parametrize("time", [None, "", "soon", "0000-00-00T00:00:00Z", 1_789_992_000, [], {}])
def test_an_unusable_time_is_none(time: object) -> None:
    """
    A log file or record is announced all the same.
    """
    untimed = LogFile("trail", KEY, None)
    inline = read_notification(eventbridge_cloudtrail(RECORD, time=time)).inline

    assert announced(untimed) == read_notification(s3(s3_record(ENCODED, eventTime=time)))
    assert (untimed,) == read_notification(eventbridge_s3(KEY, time=time)).log_files
    assert InlineRecord(INLINE.text, records.OWNER, None) == inline


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
    assert announced(FILE) == read_notification(s3(s3_record(ENCODED, eventName=name)))


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

    assert announced() == read_notification(s3(other))
    assert announced() == read_notification(s3(other | {"s3": None}))
    assert announced(FILE) == read_notification(s3(other, s3_record(ENCODED)))


@pytest.mark.parametrize(
    "detail_type", ["Object Deleted", "Object Tags Added", "Object Restore Completed", "New", ""]
)
def test_what_creates_nothing_announces_nothing_on_eventbridge(detail_type: str) -> None:
    """
    The same of S3 through EventBridge, whatever the detail is.
    """
    expected = Notification(Envelope.EVENTBRIDGE_S3)

    assert expected == read_notification(eventbridge_s3(KEY, detail_type=detail_type))
    assert expected == read_notification(eventbridge("aws.s3", detail_type, None))


def test_a_notification_of_nothing() -> None:
    """
    CloudTrail's without a key is one with nothing to read; without a record nothing is S3's.
    """
    assert () == read_notification(cloudtrail()).log_files
    with pytest.raises(ForeignMessage):
        read_notification('{"Records":[]}')


@pytest.mark.parametrize(
    "detail_type",
    [
        "AWS API Call via CloudTrail",
        "AWS Service Event via CloudTrail",
        "AWS Console Action via CloudTrail",
    ],
)
@pytest.mark.parametrize("source", ["aws.codecommit", "aws.kms", "aws.s3", "aws.new"])
def test_an_inline_record_is_cut_out_as_it_stands(source: str, detail_type: str) -> None:
    """
    The record is not read here, only what the envelope says of it; its service does not matter.
    """
    detail = '{ "eventName":"GitPush", "a" : 1e999, "eventID":"\\u00e9" }'
    message = eventbridge(source, detail_type, "record").replace('"record"', detail)
    expected = InlineRecord(detail.encode(), records.OWNER, TIME_MS)

    assert Notification(Envelope.EVENTBRIDGE_CLOUDTRAIL, inline=expected) == read_notification(
        message
    )
    assert expected == read_notification(sns(message)).inline


def test_a_lone_surrogate_harms_nobody() -> None:
    """
    A character that was cut in half stays as it is, and the record around it can be read.
    """
    record = RECORD | {"userAgent": "git/\ud83d"}
    inline = read_notification(sns(eventbridge_cloudtrail(record))).inline

    assert inline is not None
    assert record == json.loads(inline.text)
    assert announced(FILE) == read_notification(s3(s3_record(ENCODED, more="\udc00")))


@pytest.mark.parametrize("account", [None, 5, [], {}])
def test_an_account_that_is_no_text_is_none(account: object) -> None:
    """
    The record is announced all the same; what the text says is for others to check.
    """
    inline = read_notification(eventbridge_cloudtrail(RECORD, account=account)).inline

    assert InlineRecord(INLINE.text, None, TIME_MS) == inline


FOREIGN = (
    "",
    " ",
    "\0",
    "cloudtrail validation message.",
    "CloudTrail validation message. And more",
    s3(s3_record(KEY))[:-1],
    s3(s3_record(KEY)) + "}",
    "\ufeff" + s3(s3_record(KEY)),
    "\ud800",
    "null",
    "5",
    "NaN",
    '"s3:TestEvent"',
    json.dumps(VALIDATION),
    f"[{json.dumps(s3_record(KEY))}]",
    "{}",
    '{"Event":"s3:OtherEvent"}',
    '{"Event":null}',
    '{"Event":["s3:TestEvent"]}',
    '{"Records":null}',
    '{"Records":{}}',
    '{"Records":"s3:TestEvent","Event":"s3:TestEvent"}',
    '{"Records":[null]}',
    '{"Records":[[]]}',
    '{"Records":[{}]}',
    records.text(RECORD),
    records.text(records.record("PutObject", eventSource="s3.amazonaws.com")),
    json.dumps(RECORD),
    s3({"eventSource": "aws:sns", "EventVersion": "1.0", "Sns": {}}),
    s3({"eventSource": "aws:sqs", "body": s3(s3_record(KEY))}),
    s3(s3_record(KEY, eventSource=None)),
    s3(s3_record(KEY, eventSource="s3")),
    s3(s3_record(KEY, eventSource=["aws:s3"])),
    sns("hello"),
    sns("{}"),
    sns("", Message=None),
    sns("", Message=json.loads(s3(s3_record(KEY)))),
    sns(s3(s3_record(KEY)), Type="Other"),
    sns(s3(s3_record(KEY)), Type=None),
    sns(records.text(RECORD), 3),
    subscription("OtherConfirmation"),
    config_change(),
    sns(config_change()),
    '{"s3Bucket":"trail"}',
    '{"s3Bucket":"trail","s3ObjectKey":null}',
    '{"s3Bucket":null,"s3ObjectKey":null}',
    eventbridge("aws.codecommit", "CodeCommit Repository State Change", {"event": "x"}),
    eventbridge("aws.cloudtrail", "AWS Insight via CloudTrail", {"insightDetails": {}}),
    eventbridge("aws.signin", "AWS Console Sign In via CloudTrail", RECORD),
    eventbridge("aws.other", "Object Created", {}),
    eventbridge("aws.s3", "Object Created", {}, **{"detail-type": None}),
    "{" * 100_000,
    '{"a":' * 100_000,
    '{"Records":' + "[" * 100_000,
    '{"Records":' + "[" * 100_000 + "]" * 100_000 + "}",
    '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
    '{"Event":' + "[" * 100_000 + "]" * 100_000 + "}",
    '{"Event":' + "9" * 100_000 + "}",
    "9" * 1_000_000,
    "x" * 1_000_000,
    sns("[" * 300_000, 3),
)


def shortened(message: str) -> str:
    return message[:40].encode(errors="replace").decode()


@pytest.mark.parametrize("message", FOREIGN, ids=shortened)
def test_any_other_message_is_foreign(message: str) -> None:
    """
    No JSON, other JSON, what others send: none of these is read, and none crashes.
    """
    with pytest.raises(ForeignMessage, match="notification"):
        read_notification(message)


@pytest.mark.parametrize("version", ["3.0", "1.9", "20.1", "2", "", "v2.5", None, 2, 2.5, ["2.5"]])
@pytest.mark.parametrize("name", ["ObjectCreated:Put", "ObjectRemoved:Delete"])
def test_another_major_version_cannot_be_read(version: object, name: str) -> None:
    """
    Fields may mean something else there, so the whole message is left alone.
    """
    message = s3(s3_record(KEY), s3_record(KEY, eventVersion=version, eventName=name))

    with pytest.raises(UnreadableMessage, match="version 2"):
        read_notification(message)


@pytest.mark.parametrize(
    "message",
    [
        s3(s3_record(KEY), {}),
        s3(s3_record(KEY), {"eventSource": "aws:sns"}),
        s3(s3_record(KEY, eventName=None)),
        s3(s3_record(KEY, s3=None)),
        s3(s3_record(KEY, s3=[])),
        s3(s3_record(KEY, s3={"bucket": {"name": "trail"}})),
        s3(s3_record(KEY, s3={"object": {"key": "k"}})),
        s3(s3_record(KEY, s3={"bucket": {"name": None}, "object": {"key": "k"}})),
        s3(s3_record(KEY, s3={"bucket": {"name": "trail"}, "object": {"key": 5}})),
        s3(s3_record(KEY, "")),
        s3(s3_record("")),
        s3(s3_record("\ud800")),
        s3(s3_record(KEY), s3_record("")),
        s3({name: value for name, value in s3_record(KEY).items() if name != "s3"}),
        s3({name: value for name, value in s3_record(KEY).items() if name != "eventVersion"}),
        eventbridge_s3(""),
        eventbridge_s3(KEY, ""),
        eventbridge_s3("\ud800"),
        eventbridge("aws.s3", "Object Created", None),
        eventbridge("aws.s3", "Object Created", {}),
        eventbridge("aws.s3", "Object Created", {"bucket": "trail", "object": "k"}),
        '{"source":"aws.s3","detail-type":"Object Created"}',
        eventbridge_cloudtrail(None),
        eventbridge_cloudtrail([RECORD]),
        eventbridge_cloudtrail("{}"),
        '{"detail-type":"AWS API Call via CloudTrail"}',
        cloudtrail(KEY, ""),
        cloudtrail(KEY, bucket=""),
        config(""),
        config("\ud800"),
        '{"s3ObjectKey":["k"]}',
        '{"s3Bucket":null,"s3ObjectKey":["k"]}',
        '{"s3Bucket":["trail"],"s3ObjectKey":["k"]}',
        '{"s3Bucket":"trail","s3ObjectKey":5}',
        '{"s3Bucket":"trail","s3ObjectKey":[5]}',
        '{"s3Bucket":"trail","s3ObjectKey":["k",null]}',
        '{"s3Bucket":"trail","s3ObjectKey":{"k":1}}',
    ],
    ids=shortened,
)
@pytest.mark.parametrize("envelopes", [0, 1, 3])
def test_half_a_notification_cannot_be_read(message: str, envelopes: int) -> None:
    """
    It announces something, and not even its whole parts are acted upon.
    """
    with pytest.raises(UnreadableMessage):
        read_notification(sns(message, envelopes))


def test_a_log_file_reads_as_its_address() -> None:
    """
    In logs and errors a log file is written as people write it.
    """
    assert f"s3://trail/{KEY}" == str(FILE)


@pytest.mark.parametrize(
    ("name", "envelope"),
    [
        ("s3_v25", Envelope.S3),
        ("minio", Envelope.S3),
        ("testevent", Envelope.S3_TEST),
        ("cloudtrail_sns", Envelope.CLOUDTRAIL),
        ("eventbridge_s3", Envelope.EVENTBRIDGE_S3),
    ],
)
def test_messages_as_they_were_seen_are_known(
    name: str, envelope: Envelope, shared_data: Path
) -> None:
    """
    Messages of AWS and of a store that imitates it, as they were captured.
    """
    message = json.loads((shared_data / "envelopes.json").read_text())[name]
    notification = read_notification(json.dumps(message))
    keys = [log_file.key for log_file in notification.log_files]

    assert envelope is notification.envelope
    assert len(message.get("s3ObjectKey", "1")) - (name == "testevent") == len(keys)
    assert all("/CloudTrail/us-east-2/" in key for key in keys)


def test_an_inline_record_as_it_was_seen_is_known(shared_data: Path) -> None:
    """
    A push as EventBridge delivered it.
    """
    message = json.loads((shared_data / "real_gitpush_ssh_eventbridge.json").read_text())
    inline = read_notification(json.dumps(message)).inline

    assert inline is not None
    assert message["detail"] == json.loads(inline.text)
    assert message["account"] == inline.account_id


@quickly
@given(st.text(min_size=1))
def test_a_written_key_is_read_back(key: str) -> None:
    """
    Any key comes out as it was, in every form of message.
    """
    message = s3(s3_record(quote_plus(key)), s3_record(quote(key, safe="")))

    assert [key, key] == [log_file.key for log_file in read_notification(message).log_files]
    for message in (minio(key), eventbridge_s3(key), cloudtrail(key), config(key)):
        (log_file,) = read_notification(sns(message)).log_files
        assert key == log_file.key


known_json = st.sampled_from([*WITH_FIELDS, sns(s3(s3_record(ENCODED)))])


def is_a_notification_or_an_error(message: str) -> None:
    """
    Read a message. Anything but a notification or one of the two errors is raised here.
    """
    try:
        notification = read_notification(message)
    except (ForeignMessage, UnreadableMessage):
        return
    assert isinstance(notification, Notification)


@quickly
@given(st.text(st.characters()))
def test_any_text_is_a_notification_or_an_error(message: str) -> None:
    """
    Whoever can send a message can write anything into it.
    """
    is_a_notification_or_an_error(message)
    is_a_notification_or_an_error(f'{{"Records":{message}}}')
    is_a_notification_or_an_error(f'{{"detail-type":"Object Created","detail":{message}}}')
    is_a_notification_or_an_error(sns(message))


@quickly
@given(json_values)
def test_any_json_is_a_notification_or_an_error(value: Any) -> None:
    """
    The same for JSON of any shape, also where records and their parts belong.
    """
    is_a_notification_or_an_error(json.dumps(value))
    is_a_notification_or_an_error(json.dumps({"Records": value}))
    is_a_notification_or_an_error(json.dumps({"s3Bucket": "trail", "s3ObjectKey": value}))
    is_a_notification_or_an_error(sns(json.dumps(value), 2))


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """
    Every place in some JSON that could hold something else: what it is in, and where.
    """
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for place, held in list(inside):
        yield value, place
        if isinstance(held, dict | list):
            yield from places(held)


@quickly
@given(known_json, st.data())
def test_any_field_of_a_message_may_hold_anything(message: str, data: st.DataObject) -> None:
    """
    The same for every known message in which one field, however deep, is wrong.
    """
    known: Json = json.loads(message)
    holder, place = data.draw(st.sampled_from(list(places(known))))
    holder[place] = data.draw(json_values)

    is_a_notification_or_an_error(json.dumps(known))
    is_a_notification_or_an_error(sns(json.dumps(known)))


@quickly
@given(known_json, st.data())
def test_a_damaged_message_is_a_notification_or_an_error(message: str, data: st.DataObject) -> None:
    """
    The same for every known message with one character replaced, or cut off there.
    """
    place = data.draw(st.integers(0, len(message) - 1))
    character = data.draw(st.characters() | st.sampled_from('"{}[],:\\'))

    is_a_notification_or_an_error(message[:place] + character + message[place + 1 :])
    is_a_notification_or_an_error(message[:place])


def error_of(message: str) -> str:
    """
    What is said of a message that is not read; nothing of one that is.
    """
    try:
        read_notification(message)
    except Permanent as error:
        return str(error)
    return ""


@pytest.mark.parametrize("wrong", ["secret", 31337, {"secret": 1}, ["secret"], "\ud800secret"])
@pytest.mark.parametrize("message", WITH_FIELDS, ids=shortened)
def test_an_error_quotes_nothing(message: str, wrong: object) -> None:
    """
    A message may hold what nobody should read in a log, wherever it is wrong.
    """
    for number in range(len(list(places(json.loads(message))))):
        known = json.loads(message)
        holder, place = list(places(known))[number]
        holder[place] = wrong
        told = error_of(json.dumps(known))
        assert [] == [word for word in ("secret", "31337", "trail") if word in told]
