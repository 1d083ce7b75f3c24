"""
Message bodies of the tests' own, in every form in which a log file is announced.

The shapes are those that the Amazon S3 User Guide ("Event message structure", "EventBridge
event message structure"), the Amazon SNS Developer Guide ("Parsing Amazon SNS message
formats"), the CloudTrail User Guide ("Configuring Amazon SNS notifications for CloudTrail")
and the AWS Config Developer Guide ("Notifications that AWS Config sends") tell.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote_plus

from tests.records import OWNER, REGION

Json = dict[str, Any]

BUCKET = "trail"
TIME = "2026-09-21T12:00:00Z"
VALIDATION = "CloudTrail validation message."
TOPIC = f"arn:aws:sns:{REGION}:{OWNER}:trail"


def s3_record(key: str, bucket: str = BUCKET, **fields: object) -> Json:
    """
    One record of an S3 event notification, with the key as S3 writes it; fields replace or add.
    """
    return {
        "eventVersion": "2.5",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventTime": TIME,
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "AWS:AIDAQWERTZUIOPEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "198.51.100.77"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
            "object": {"key": key, "size": 629, "sequencer": "0055AED6DCD90281E5"},
        },
    } | fields


def s3(*records: object, **fields: object) -> str:
    """
    An S3 event notification.
    """
    return json.dumps({"Records": records} | fields)


def minio(key: str, bucket: str = BUCKET) -> str:
    """
    MinIO's event notification: slashes are encoded, and names have prefixes of their own.
    """
    record = s3_record(
        quote_plus(key),
        bucket,
        eventVersion="2.0",
        eventSource="minio:s3",
        eventName="s3:ObjectCreated:Put",
    )
    return s3(record, EventName="s3:ObjectCreated:Put", Key=f"{bucket}/{key}")


def s3_test(bucket: str = BUCKET) -> str:
    """
    What S3 sends once when a bucket is told to announce its objects.
    """
    return json.dumps(
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": TIME, "Bucket": bucket}
    )


def sns(message: str, envelopes: int = 1, **fields: object) -> str:
    """
    A message in as many envelopes of SNS, one in the other; fields are the outermost one's.
    """
    for _ in range(envelopes):
        message = json.dumps(
            {
                "Type": "Notification",
                "MessageId": "0d5b1c3e-6a0f-5a4e-9c39-4b7d2f0e8a11",
                "TopicArn": TOPIC,
                "Subject": "Amazon S3 Notification",
                "Message": message,
                "Timestamp": TIME,
                "SignatureVersion": "1",
                "UnsubscribeURL": "https://sns.example.com/?Action=Unsubscribe",
            }
            | fields
        )
    return message


def subscription(kind: str = "SubscriptionConfirmation") -> str:
    """
    What SNS sends to a new subscriber, with an address that would confirm if it were opened.
    """
    return json.dumps(
        {
            "Type": kind,
            "TopicArn": TOPIC,
            "Token": "2336412f37",
            "Message": "You have chosen to subscribe to the topic.",
            "SubscribeURL": "https://sns.example.com/?Action=ConfirmSubscription",
        }
    )


def eventbridge(source: str, detail_type: str, detail: object, **fields: object) -> str:
    """
    An event as EventBridge delivers it.
    """
    return json.dumps(
        {
            "version": "0",
            "id": "1c0a7d5e-3f0b-2a51-7d0e-6a4f5b9c2e18",
            "detail-type": detail_type,
            "source": source,
            "account": OWNER,
            "time": TIME,
            "region": REGION,
            "resources": [],
            "detail": detail,
        }
        | fields
    )


def eventbridge_s3(
    key: str, bucket: str = BUCKET, detail_type: str = "Object Created", **fields: object
) -> str:
    """
    What S3 tells through EventBridge, with the key as it is.
    """
    detail = {
        "version": "0",
        "event-version": "1.0",
        "bucket": {"name": bucket},
        "object": {"key": key, "size": 629, "sequencer": "617f08299329d189"},
        "reason": "PutObject",
    }
    return eventbridge("aws.s3", detail_type, detail, **fields)


def eventbridge_cloudtrail(
    record: object, detail_type: str = "AWS API Call via CloudTrail", **fields: object
) -> str:
    """
    A CloudTrail record that EventBridge delivers itself.
    """
    return eventbridge("aws.codecommit", detail_type, record, **fields)


def cloudtrail(*keys: str, bucket: str = BUCKET) -> str:
    """
    What CloudTrail publishes to a trail's own topic, with the keys as they are.
    """
    return json.dumps({"s3Bucket": bucket, "s3ObjectKey": keys})


def config(key: str, bucket: str = BUCKET) -> str:
    """
    What AWS Config publishes when it has delivered an object.
    """
    return json.dumps(
        {
            "s3ObjectKey": key,
            "s3Bucket": bucket,
            "notificationCreationTime": TIME,
            "messageType": "ConfigurationHistoryDeliveryCompleted",
            "recordVersion": "1.1",
        }
    )


def config_change() -> str:
    """
    What AWS Config publishes when a resource has changed; there is no object to it.
    """
    return json.dumps(
        {
            "configurationItemDiff": {"changeType": "UPDATE", "changedProperties": {}},
            "notificationCreationTime": TIME,
            "messageType": "ConfigurationItemChangeNotification",
            "recordVersion": "1.3",
        }
    )
