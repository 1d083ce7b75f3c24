"""
The template for AWS: what it makes is what the program needs, and its README leads there.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
import yaml
from botocore import xform_name

from exporter.backups import S3Backups
from tests import records
from tests.conftest import needs
from tests.processes import PROJECT, Exporter, clean_environment
from tests.servers import ACCOUNT, REGION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.servers import Trail

FOLDER = PROJECT / "deploy/aws"
TEMPLATE = FOLDER / "codecommit-exporter.yaml"
README = (FOLDER / "README.md").read_text()
CFN_LINT = Path(sys.executable).with_name("cfn-lint")
"""Comes with moto."""

OTHER_ACCOUNT = "111122223333"
BACKUPS = "backups-of-it"
KEY_ARN = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0a0b0c0d-1111-4222-8333-444455556666"
BACKUP_KEY_ARN = KEY_ARN.replace("0a0b", "1a1b")
THROUGH_S3 = {"StringLike": {"kms:ViaService": "s3.*"}}
FORTNIGHT_SECONDS = 14 * 24 * 3600

Permissions = set[tuple[str, str]]
"""By what they are for, which is a statement's Sid, and their action."""

NEEDED: Mapping[str, Mapping[str, Permissions]] = {
    "aws/queue.py": {
        "receive_message": {("Queue", "sqs:ReceiveMessage")},
        "delete_message_batch": {("Queue", "sqs:DeleteMessage")},
        "change_message_visibility_batch": {("Queue", "sqs:ChangeMessageVisibility")},
        "get_queue_attributes": {
            ("Queue", "sqs:GetQueueAttributes"),
            ("DeadLetters", "sqs:GetQueueAttributes"),
        },
        "get_queue_url": {("DeadLetters", "sqs:GetQueueUrl")},
    },
    "aws/objects.py": {
        "head_bucket": {("Bucket", "s3:ListBucket")},
        "get_object": {("LogFiles", "s3:GetObject"), ("Key", "kms:Decrypt")},
    },
    "aws/listing.py": {"list_objects_v2": {("Bucket", "s3:ListBucket")}},
    "backups.py": {
        "list_objects_v2": {("BackupBucket", "s3:ListBucket")},
        "get_object": {("Backups", "s3:GetObject"), ("BackupKey", "kms:Decrypt")},
        "put_object": {("Backups", "s3:PutObject"), ("BackupKey", "kms:GenerateDataKey")},
        "create_multipart_upload": {("Backups", "s3:PutObject")},
        "upload_part": {("Backups", "s3:PutObject")},
        "complete_multipart_upload": {("Backups", "s3:PutObject"), ("BackupKey", "kms:Decrypt")},
        "abort_multipart_upload": {("Backups", "s3:AbortMultipartUpload")},
        "delete_object": {("Backups", "s3:DeleteObject")},
    },
}
"""What each module asks of S3 and SQS, and what AWS wants for that (S3 User Guide, "Required
permissions for Amazon S3 API operations"; SQS Developer Guide, "Amazon SQS API permissions")."""

ELSEWHERE = {"demo.py", "scan.py", "aws/shortcut.py"}
"""
Modules that do not ask as the exporter: on an AWS of their own, or with a person's rights; or
that only hand on what another module asks.
"""


class Stack:
    """
    A stack that has been made from the template.

    Args:
        trail: Whose bucket is given.
        parameters: The other parameters.
    """

    def __init__(self, trail: Trail, **parameters: str) -> None:
        session, endpoint = trail.aws.session(), trail.aws.endpoint
        stacks: Any = session.client("cloudformation", endpoint_url=endpoint)
        self._iam: Any = session.client("iam", endpoint_url=endpoint)
        self.name = f"{trail.bucket}-stack"
        given = {"BucketName": trail.bucket} | parameters
        try:
            stacks.create_stack(
                StackName=self.name,
                TemplateBody=TEMPLATE.read_text(),
                Capabilities=["CAPABILITY_IAM"],
                Parameters=[
                    {"ParameterKey": key, "ParameterValue": value} for key, value in given.items()
                ],
            )
            (told,) = stacks.describe_stacks(StackName=self.name)["Stacks"]
        finally:
            stacks.close()
        assert "CREATE_COMPLETE" == told["StackStatus"]
        self.outputs = {each["OutputKey"]: each["OutputValue"] for each in told["Outputs"]}

    @property
    def _role(self) -> str:
        return str(self.outputs["RoleArn"]).rpartition("/")[2]

    def trust(self) -> dict[str, Any]:
        """
        The one statement that says who may take the role.
        """
        role = self._iam.get_role(RoleName=self._role)["Role"]
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        return dict(statement)

    def statements(self) -> dict[str, dict[str, Any]]:
        """
        What the role may do, by Sid.
        """
        (name,) = self._iam.list_role_policies(RoleName=self._role)["PolicyNames"]
        policy = self._iam.get_role_policy(RoleName=self._role, PolicyName=name)
        # moto answers with Python's form of the policy, which is JSON on AWS, and with None where
        # AWS leaves a statement out.
        document = ast.literal_eval(policy["PolicyDocument"])
        return {each["Sid"]: each for each in document["Statement"] if each is not None}

    def config(self) -> dict[str, Any]:
        """
        The exporter's options in the values for the chart.
        """
        return dict(yaml.safe_load(self.outputs["Values"])["config"])

    def close(self) -> None:
        """
        Close the connections.
        """
        self._iam.close()


@pytest.fixture
def bare_stack(unlaid_trail: Trail) -> Iterator[Stack]:
    """
    A stack for nothing but a bucket, on EC2.
    """
    stack = Stack(unlaid_trail, RunsOn="ec2")
    yield stack
    stack.close()


@pytest.fixture
def full_stack(unlaid_trail: Trail) -> Iterator[Stack]:
    """
    A stack with everything that can be given, on EKS.
    """
    stack = Stack(
        unlaid_trail,
        LogFilesPrefix="ours/AWSLogs/",
        BucketOwner=OTHER_ACCOUNT,
        KeyArn=KEY_ARN,
        BackupBucketName=BACKUPS,
        BackupPrefix="one/exporter",
        BackupKeyArn=BACKUP_KEY_ARN,
    )
    yield stack
    stack.close()


def listed(one_or_more: object) -> list[Any]:
    """
    A list, which a policy may leave out around one thing.
    """
    return one_or_more if isinstance(one_or_more, list) else [one_or_more]


def allowed(statements: Mapping[str, Mapping[str, Any]]) -> Permissions:
    """
    What some statements allow, and they do nothing but allow.
    """
    assert {"Allow"} == {statement["Effect"] for statement in statements.values()}
    return {
        (sid, action)
        for sid, statement in statements.items()
        for action in listed(statement["Action"])
    }


def operations_by_module() -> dict[str, set[str]]:
    """
    The operations of S3 and SQS that the program's modules name.
    """
    session = botocore.session.get_session()
    known = {
        xform_name(name)
        for service in ("s3", "sqs")
        for name in session.get_service_model(service).operation_names
    }
    root = PROJECT / "exporter"
    named = {
        path.relative_to(root).as_posix(): known & set(re.findall(r"\w+", path.read_text()))
        for path in root.rglob("*.py")
    }
    return {name: found for name, found in named.items() if found and name not in ELSEWHERE}


def section(text: str, heading: str) -> str:
    """
    What stands under a heading, up to the next of any rank.
    """
    return re.split(r"^#+ ", text.split(f"{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def block(language: str) -> str:
    """
    All code of a language in the README.
    """
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL))


def commands(program: str) -> list[list[str]]:
    """
    The words of the README's commands of a program.
    """
    lines = block("sh").replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.startswith(f"{program} ")]


def structure(template: str) -> dict[str, Any]:
    """
    A template with its functions written out: ``!Ref A`` is ``{"Ref": "A"}``.
    """

    class Loader(yaml.SafeLoader):
        pass

    def function(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> dict[str, Any]:
        if isinstance(node, yaml.SequenceNode):
            return {name: loader.construct_sequence(node, deep=True)}
        assert isinstance(node, yaml.ScalarNode)
        return {name: loader.construct_scalar(node)}

    Loader.add_multi_constructor("!", function)
    return dict(yaml.load(template, Loader))  # noqa: S506


def policy(name: str) -> dict[str, dict[str, Any]]:
    """
    The statements of a queue's policy, by Sid; for those that are conditional, if it holds.
    """
    resource = structure(TEMPLATE.read_text())["Resources"][name]
    assert "AWS::SQS::QueuePolicy" == resource["Type"]
    statements = [
        each["If"][1] if "If" in each else each
        for each in resource["Properties"]["PolicyDocument"]["Statement"]
    ]
    return {statement["Sid"]: statement for statement in statements}


def test_cfn_lint_finds_nothing() -> None:
    """
    The template is valid for all Regions that it may be used in.
    """
    regions = ("eu-central-1", "us-east-1", "us-gov-west-1", "cn-north-1")
    found = subprocess.run(
        [CFN_LINT, "--regions", *regions, "--template", str(TEMPLATE)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "", "") == (found.returncode, found.stdout, found.stderr)


def test_the_template_names_no_partition() -> None:
    """
    ARNs are made for the partition that the stack is in.
    """
    assert [] == re.findall(r"arn:aws", TEMPLATE.read_text())


def test_every_request_of_the_program_is_known() -> None:
    """
    No module asks S3 or SQS for anything that the table of permissions does not have.
    """
    assert {module: set(each) for module, each in NEEDED.items()} == operations_by_module()


def test_the_role_may_do_what_the_program_does_and_no_more(full_stack: Stack) -> None:
    """
    Every permission is one that a request needs, on what the request is about.
    """
    needed = set[tuple[str, str]]().union(*chain(*(each.values() for each in NEEDED.values())))
    account, dead_letters = f"{REGION}:{ACCOUNT}", f"{full_stack.name}-dead-letters"
    bucket = full_stack.name.removesuffix("-stack")

    statements = full_stack.statements()

    assert needed == allowed(statements)
    assert {
        "Queue": full_stack.outputs["QueueArn"],
        "DeadLetters": f"arn:aws:sqs:{account}:{dead_letters}",
        "LogFiles": f"arn:aws:s3:::{bucket}/ours/AWSLogs/*",
        "Bucket": f"arn:aws:s3:::{bucket}",
        "Key": KEY_ARN,
        "BackupBucket": f"arn:aws:s3:::{BACKUPS}",
        "Backups": f"arn:aws:s3:::{BACKUPS}/one/exporter/ledger-*",
        "BackupKey": BACKUP_KEY_ARN,
    } == {sid: statement["Resource"] for sid, statement in statements.items()}
    assert {
        "Key": THROUGH_S3,
        "BackupBucket": {"StringEquals": {"s3:prefix": "one/exporter/ledger-"}},
        "BackupKey": THROUGH_S3,
    } == {sid: each["Condition"] for sid, each in statements.items() if "Condition" in each}


def test_what_is_not_given_is_not_allowed(bare_stack: Stack) -> None:
    """
    Without keys and backups the role has no permissions for them.
    """
    assert {"Queue", "DeadLetters", "LogFiles", "Bucket"} == set(bare_stack.statements())


def test_the_readmes_tell_every_permission(full_stack: Stack) -> None:
    """
    Whoever makes the role by hand finds there what the template has, and nothing else.
    """
    project = (PROJECT / "README.md").read_text()
    told = section(project, "## On AWS") + section(project, "### Backups") + README

    actions = set(re.findall(r"`((?:sqs|s3|kms):[A-Z]\w+)`", told))

    assert {action for _, action in allowed(full_stack.statements())} == actions - {
        "sqs:SendMessage"
    }


async def test_backups_are_listed_as_the_role_may(full_stack: Stack) -> None:
    """
    The condition on listing names the prefix that the program asks for.
    """
    asked: list[dict[str, Any]] = []

    class Client:
        async def list_objects_v2(self, **request: Any) -> dict[str, Any]:
            asked.append(request)
            return {}

    await S3Backups(Client(), BACKUPS, "one/exporter").names()

    (condition,) = full_stack.statements()["BackupBucket"]["Condition"].values()
    assert [condition["s3:prefix"]] == [request["Prefix"] for request in asked]


def test_who_takes_the_role(bare_stack: Stack) -> None:
    """
    An instance does, which the profile is for.
    """
    assert {
        "Effect": "Allow",
        "Principal": {"Service": "ec2.amazonaws.com"},
        "Action": ["sts:AssumeRole"],
    } == bare_stack.trust()
    assert bare_stack.outputs["InstanceProfileName"]


def test_who_takes_the_role_on_eks(full_stack: Stack) -> None:
    """
    Pod Identity does, which tags the session.
    """
    assert {
        "Effect": "Allow",
        "Principal": {"Service": "pods.eks.amazonaws.com"},
        "Action": ["sts:AssumeRole", "sts:TagSession"],
    } == full_stack.trust()
    assert "InstanceProfileName" not in full_stack.outputs


def test_the_queues_are_as_the_readme_says(bare_stack: Stack, unlaid_trail: Trail) -> None:
    """
    A message comes back after two minutes, five times, and is kept for a fortnight.
    """
    kept = {"MessageRetentionPeriod": str(FORTNIGHT_SECONDS), "SqsManagedSseEnabled": "true"}
    queue, dead_letters = (
        unlaid_trail.sqs.get_queue_attributes(
            QueueUrl=bare_stack.outputs[output], AttributeNames=["All"]
        )["Attributes"]
        for output in ("QueueUrl", "DeadLettersUrl")
    )

    assert kept.items() <= queue.items()
    assert kept.items() <= dead_letters.items()
    assert "120" == queue["VisibilityTimeout"]
    assert {
        "deadLetterTargetArn": dead_letters["QueueArn"],
        "maxReceiveCount": 5,
    } == json.loads(queue["RedrivePolicy"])


@pytest.mark.parametrize("key", ["KeyArn", "BackupKeyArn"])
def test_a_key_is_not_given_by_an_alias(key: str) -> None:
    """
    A permission on an alias allows nothing.
    """
    pattern = structure(TEMPLATE.read_text())["Parameters"][key]["AllowedPattern"]
    alias = f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/log-files"

    assert re.fullmatch(pattern, KEY_ARN)
    assert re.fullmatch(pattern, "")
    assert not re.fullmatch(pattern, alias)


@pytest.mark.parametrize(
    ("stack", "owner"), [("full_stack", OTHER_ACCOUNT), ("bare_stack", ACCOUNT)]
)
def test_the_bucket_of_the_values_is_its_owners(
    stack: str, owner: str, request: pytest.FixtureRequest
) -> None:
    """
    The account that has been given, or the stack's own.
    """
    made: Stack = request.getfixturevalue(stack)
    bucket = made.name.removesuffix("-stack")

    assert [f"{bucket}={owner}"] == made.config()["s3"]["allowed-bucket"]


@pytest.mark.parametrize("queue", ["Queue", "DeadLetters"])
def test_a_policy_is_about_its_own_queue(queue: str) -> None:
    """
    It belongs to that, and so does every statement.
    """
    resource = structure(TEMPLATE.read_text())["Resources"][f"{queue}Policy"]
    about = [statement["Resource"] for statement in policy(f"{queue}Policy").values()]

    assert [{"Ref": queue}] == resource["Properties"]["Queues"]
    assert [{"GetAtt": f"{queue}.Arn"}] * len(about) == about


def test_only_the_bucket_may_send() -> None:
    """
    The bucket of that name and account may, and a topic or rule that has been given.
    """
    statements = policy("QueuePolicy")

    assert {
        "Bucket": ("Allow", {"Service": "s3.amazonaws.com"}),
        "Announcer": ("Allow", {"Service": ["events.amazonaws.com", "sns.amazonaws.com"]}),
        "OnlyTls": ("Deny", "*"),
    } == {sid: (each["Effect"], each["Principal"]) for sid, each in statements.items()}
    assert {
        "ArnEquals": {"aws:SourceArn": {"Sub": "arn:${AWS::Partition}:s3:::${BucketName}"}},
        "StringEquals": {
            "aws:SourceAccount": {
                "If": ["OwnBucket", {"Ref": "AWS::AccountId"}, {"Ref": "BucketOwner"}]
            }
        },
    } == statements["Bucket"]["Condition"]
    assert {"ArnEquals": {"aws:SourceArn": {"Ref": "AnnouncerArn"}}} == statements["Announcer"][
        "Condition"
    ]
    assert {"sqs:SendMessage"} == {
        each["Action"] for each in statements.values() if each["Effect"] == "Allow"
    }


@pytest.mark.parametrize("name", ["QueuePolicy", "DeadLettersPolicy"])
def test_nothing_goes_without_tls(name: str) -> None:
    """
    Both queues refuse everything that is not encrypted on the way, and nothing else.
    """
    denied = policy(name)["OnlyTls"]

    assert ("Deny", "*", "sqs:*") == (denied["Effect"], denied["Principal"], denied["Action"])
    assert {"Bool": {"aws:SecureTransport": "false"}} == denied["Condition"]


def test_from_the_template_to_numbers(unlaid_trail: Trail, tmp_path: Path) -> None:
    """
    With the template, the README's notification and the stack's values a log file is counted.

    Its message is acknowledged, and the ledger is backed up where the role may write.
    """
    trail, place = unlaid_trail, f"{unlaid_trail.bucket}-backups"
    trail.make_bucket()
    trail.s3.create_bucket(Bucket=place, CreateBucketConfiguration={"LocationConstraint": REGION})
    stack = Stack(trail, BackupBucketName=place)
    backups = stack.statements()["Backups"]["Resource"]
    stack.close()
    notification = (
        block("json")
        .replace("111122223333", ACCOUNT)
        .replace("codecommit-log-files", f"{stack.name}-log-files")
    )
    assert stack.outputs["QueueArn"] in notification
    trail.s3.put_bucket_notification_configuration(
        Bucket=trail.bucket, NotificationConfiguration=json.loads(notification)
    )
    trail.deliver(records.key(1), records.log_file(records.text(*records.push_pair("one"))))

    def keys() -> list[str]:
        return [each["Key"] for each in trail.s3.list_objects_v2(Bucket=place).get("Contents", [])]

    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(stack.config()))

    exporter = Exporter(
        "serve",
        *("--config.file", str(config), "--state.directory", str(tmp_path / "state")),
        *("--metrics.new-series-hold", "0s"),
        environment=clean_environment(**trail.aws.environment),
    )
    try:
        exporter.until(
            lambda: exporter.scrape().value("codecommit_exporter_messages_total") == 2,
            "the log file's message and the test event are deleted",
        )
        exporter.until(lambda: bool(keys()), "a backup is kept")
        page = exporter.scrape()
    finally:
        exporter.kill()
        print(exporter.log)  # noqa: T201

    assert 2 == page.value("codecommit_exporter_messages_total", outcome="deleted")
    assert 1 == page.value("codecommit_pushes_total", repository="one")
    assert [] == [key for key in keys() if not fnmatchcase(f"arn:aws:s3:::{place}/{key}", backups)]


@pytest.mark.parametrize(
    "before",
    [
        "",
        '{"EventBridgeConfiguration": {}, "TopicConfigurations": [{"Id": "theirs"}]}',
        '{"QueueConfigurations": [{"Id": "theirs"}]}',
    ],
    ids=["nothing", "others", "a queue"],
)
def test_what_the_bucket_announces_already_is_kept(before: str, tmp_path: Path) -> None:
    """
    The README's commands add the exporter's queue to it, and take that out again.
    """
    jq = needs("jq")
    (tmp_path / "before.json").write_text(before)
    (tmp_path / "notification.json").write_text(block("json"))

    def run(words: list[str]) -> dict[str, Any]:
        *words, _, file = words
        written = subprocess.run([jq, *words[1:]], cwd=tmp_path, capture_output=True, check=True)
        (tmp_path / file).write_bytes(written.stdout)
        return dict(json.loads(written.stdout))

    add, take_out = commands("jq")
    theirs = json.loads(before or "{}")
    queues = theirs.get("QueueConfigurations", [])

    merged = run(add)
    (tmp_path / "before.json").write_text(json.dumps(merged))
    left = run(take_out)

    own = json.loads(block("json"))["QueueConfigurations"]
    assert theirs | {"QueueConfigurations": queues + own} == merged
    assert theirs | {"QueueConfigurations": queues} == left


def test_the_readmes_commands_are_those_of_aws() -> None:
    """
    Every operation and option is one that AWS knows, and none that it requires is missing.
    """
    session = botocore.session.get_session()

    def wrong(words: list[str]) -> set[str]:
        _, service, operation, *rest = words
        service = {"s3api": "s3"}.get(service, service)
        if operation == "wait":
            waiters = session.get_waiter_model(service).waiter_names
            return {rest[0]} - {xform_name(name, "-") for name in waiters}
        model = session.get_service_model(service)
        (name,) = (each for each in model.operation_names if xform_name(each, "-") == operation)
        shape = model.operation_model(name).input_shape
        assert shape is not None
        given = {word.removeprefix("--") for word in rest if word.startswith("--")}
        known = {xform_name(member, "-") for member in shape.members}
        required = {xform_name(member, "-") for member in shape.required_members}
        return (given - known - {"query", "output"}) | (required - given)

    assert [] == [words for words in commands("aws") if wrong(words)]
    assert len(commands("aws")) >= 10


def test_every_parameter_is_told() -> None:
    """
    The README names all parameters and outputs that there are to be known.
    """
    template = structure(TEMPLATE.read_text())

    assert [] == [name for name in template["Parameters"] if name not in README]
    assert [] == [name for name in template["Outputs"] if f"`{name}`" not in README]
