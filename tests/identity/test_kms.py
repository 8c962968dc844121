"""KMS through the door, with the real boto3: keys that really seal."""

from __future__ import annotations

import json
from pathlib import Path

from shelf_serving import ACCOUNT, Served, refused, served

DAY_MS = 86_400_000
CONTEXT = {"sample": "NA12878", "stage": "align"}


def test_a_key_is_created_shown_switched_and_deleted(tmp_path: Path) -> None:
    with served(tmp_path) as yard:
        kms = yard.kms
        made = kms.create_key(Description="results", Tags=[{"TagKey": "team", "TagValue": "genomics"}])["KeyMetadata"]
        key_id, arn = made["KeyId"], made["Arn"]
        assert arn == f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{key_id}"
        assert (made["KeyState"], made["KeySpec"], made["KeyManager"], made["Enabled"]) == (
            "Enabled",
            "SYMMETRIC_DEFAULT",
            "CUSTOMER",
            True,
        )
        kms.create_alias(AliasName="alias/results", TargetKeyId=key_id)
        for name in (arn, "alias/results", f"arn:aws:kms:us-east-1:{ACCOUNT}:alias/results"):
            assert kms.describe_key(KeyId=name)["KeyMetadata"]["KeyId"] == key_id
        assert [key["KeyArn"] for key in kms.list_keys()["Keys"]] == [arn]
        kms.update_key_description(KeyId=key_id, Description="old results")
        kms.disable_key(KeyId=key_id)
        with refused("DisabledException", f"{arn} is disabled."):
            kms.encrypt(KeyId=key_id, Plaintext=b"x")
        kms.enable_key(KeyId=key_id)
        blob = kms.encrypt(KeyId=key_id, Plaintext=b"x")["CiphertextBlob"]

        told = kms.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=7)
        assert (told["KeyId"], told["KeyState"]) == (arn, "PendingDeletion")
        shown = kms.describe_key(KeyId=key_id)["KeyMetadata"]
        assert (shown["Description"], shown["DeletionDate"], shown["Enabled"]) == ("old results", told["DeletionDate"], False)
        with refused("KMSInvalidStateException", "is pending deletion."):
            kms.decrypt(CiphertextBlob=blob)
        kms.cancel_key_deletion(KeyId=key_id)
        assert kms.describe_key(KeyId=key_id)["KeyMetadata"]["KeyState"] == "Disabled"
        with refused("KMSInvalidStateException", "is not pending deletion."):
            kms.cancel_key_deletion(KeyId=key_id)

        kms.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=7)
        yard.clock_ms = yard.now_ms() + 7 * DAY_MS + 1
        with refused("NotFoundException", f"Key '{arn}' does not exist"):
            kms.decrypt(CiphertextBlob=blob)
        with refused("NotFoundException", "alias/results is not found."):
            kms.describe_key(KeyId="alias/results")
        assert kms.list_keys()["Keys"] == [] and kms.list_aliases()["Aliases"] == []
        other = kms.create_key()["KeyMetadata"]["KeyId"]
        kms.create_alias(AliasName="alias/results", TargetKeyId=other)
        assert kms.describe_key(KeyId="alias/results")["KeyMetadata"]["KeyId"] == other


def test_what_is_sealed_opens_in_its_own_context_alone(yard: Served) -> None:
    kms = yard.kms
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    other = kms.create_key()["KeyMetadata"]["KeyId"]
    sealed = kms.encrypt(KeyId=key_id, Plaintext=b"ACGT" * 100, EncryptionContext=CONTEXT)
    assert b"ACGT" not in sealed["CiphertextBlob"] and sealed["KeyId"].endswith(key_id)
    opened = kms.decrypt(CiphertextBlob=sealed["CiphertextBlob"], EncryptionContext=dict(reversed(CONTEXT.items())))
    assert opened["Plaintext"] == b"ACGT" * 100 and opened["KeyId"] == sealed["KeyId"]
    for context in ({}, {"sample": "NA12878"}, {**CONTEXT, "stage": "call"}):
        with refused("InvalidCiphertextException"):
            kms.decrypt(CiphertextBlob=sealed["CiphertextBlob"], EncryptionContext=context)
    damaged = bytearray(sealed["CiphertextBlob"])
    damaged[-1] ^= 1
    for blob in (bytes(damaged), b"something else", sealed["CiphertextBlob"][:30]):
        with refused("InvalidCiphertextException"):
            kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)
    with refused("IncorrectKeyException"):
        kms.decrypt(CiphertextBlob=sealed["CiphertextBlob"], EncryptionContext=CONTEXT, KeyId=other)

    again = kms.re_encrypt(CiphertextBlob=sealed["CiphertextBlob"], SourceEncryptionContext=CONTEXT, DestinationKeyId=other)
    assert (again["SourceKeyId"], again["KeyId"].rpartition("/")[2]) == (sealed["KeyId"], other)
    assert kms.decrypt(CiphertextBlob=again["CiphertextBlob"])["Plaintext"] == b"ACGT" * 100
    with refused("DryRunOperationException"):
        kms.encrypt(KeyId=key_id, Plaintext=b"x", DryRun=True)


def test_data_keys_and_random_bytes(yard: Served) -> None:
    kms = yard.kms
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    made = kms.generate_data_key(KeyId=key_id, KeySpec="AES_256", EncryptionContext=CONTEXT)
    assert len(made["Plaintext"]) == 32
    assert kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=CONTEXT)["Plaintext"] == made["Plaintext"]
    hidden = kms.generate_data_key_without_plaintext(KeyId=key_id, NumberOfBytes=20)
    assert "Plaintext" not in hidden and len(kms.decrypt(CiphertextBlob=hidden["CiphertextBlob"])["Plaintext"]) == 20
    for options in ({}, {"KeySpec": "AES_128", "NumberOfBytes": 16}):
        with refused("ValidationException", "Please specify either number of bytes or key spec."):
            kms.generate_data_key(KeyId=key_id, **options)
    assert len(kms.generate_random(NumberOfBytes=24)["Plaintext"]) == 24


def test_aliases(yard: Served) -> None:
    kms = yard.kms
    first, second = (kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(2))
    kms.create_alias(AliasName="alias/one", TargetKeyId=first)
    with refused("AlreadyExistsException", f"An alias with the name arn:aws:kms:us-east-1:{ACCOUNT}:alias/one already exists"):
        kms.create_alias(AliasName="alias/one", TargetKeyId=second)
    with refused("NotAuthorizedException"):
        kms.create_alias(AliasName="alias/aws/one", TargetKeyId=first)
    with refused("ValidationException"):
        kms.create_alias(AliasName="one", TargetKeyId=first)
    with refused("NotFoundException"):
        kms.create_alias(AliasName="alias/two", TargetKeyId="1234abcd-12ab-34cd-56ef-1234567890ab")
    assert [alias["AliasName"] for alias in kms.list_aliases(KeyId=first)["Aliases"]] == ["alias/one"]
    kms.update_alias(AliasName="alias/one", TargetKeyId=second)
    assert kms.list_aliases(KeyId=first)["Aliases"] == []
    (alias,) = kms.list_aliases(KeyId=second)["Aliases"]
    assert (alias["TargetKeyId"], alias["AliasArn"]) == (second, f"arn:aws:kms:us-east-1:{ACCOUNT}:alias/one")
    kms.delete_alias(AliasName="alias/one")
    with refused("NotFoundException", "alias/one is not found."):
        kms.delete_alias(AliasName="alias/one")


def test_policies_rotation_and_tags(yard: Served) -> None:
    kms = yard.kms
    key_id = kms.create_key(Tags=[{"TagKey": "team", "TagValue": "genomics"}])["KeyMetadata"]["KeyId"]
    told = kms.get_key_policy(KeyId=key_id, PolicyName="default")
    assert json.loads(told["Policy"])["Statement"][0]["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}]})
    kms.put_key_policy(KeyId=key_id, Policy=policy)
    assert kms.get_key_policy(KeyId=key_id)["Policy"] == policy and kms.list_key_policies(KeyId=key_id)["PolicyNames"] == ["default"]
    with refused("MalformedPolicyDocumentException"):
        kms.put_key_policy(KeyId=key_id, Policy="{}")
    assert kms.get_key_rotation_status(KeyId=key_id)["KeyRotationEnabled"] is False
    kms.enable_key_rotation(KeyId=key_id, RotationPeriodInDays=180)
    status = kms.get_key_rotation_status(KeyId=key_id)
    assert (status["KeyRotationEnabled"], status["RotationPeriodInDays"]) == (True, 180) and "NextRotationDate" in status
    kms.disable_key_rotation(KeyId=key_id)
    assert kms.get_key_rotation_status(KeyId=key_id)["KeyRotationEnabled"] is False
    kms.tag_resource(KeyId=key_id, Tags=[{"TagKey": "a", "TagValue": "1"}])
    kms.untag_resource(KeyId=key_id, TagKeys=["team"])
    assert kms.list_resource_tags(KeyId=key_id)["Tags"] == [{"TagKey": "a", "TagValue": "1"}]


def test_what_keys_cannot_be(yard: Served) -> None:
    kms = yard.kms
    for options, words in (
        ({"KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"}, "KeySpec: RSA_2048"),
        ({"Origin": "EXTERNAL"}, "Origin: EXTERNAL"),
        ({"MultiRegion": True}, "MultiRegion"),
    ):
        with refused("UnsupportedOperationException", words):
            kms.create_key(**options)
    with refused("UnsupportedOperationException", "there are no grants"):
        kms.list_grants(KeyId="x")
    with refused("NotFoundException", "Invalid keyId 'nonsense'"):
        kms.describe_key(KeyId="nonsense")


def test_policies_decide_who_may_use_a_key(tmp_path: Path) -> None:
    with served(tmp_path, enforce_iam=True) as yard:
        kms, iam = yard.kms, yard.iam
        allowed, other = (kms.create_key()["KeyMetadata"] for _ in range(2))
        kms.create_alias(AliasName="alias/mine", TargetKeyId=allowed["KeyId"])
        kept = yard.ecr.create_repository(repositoryName="mine")["repository"]["repositoryArn"]
        yard.ecr.create_repository(repositoryName="other")
        iam.create_user(UserName="ada")
        statements = [
            {"Effect": "Allow", "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom"], "Resource": allowed["Arn"]},
            {"Effect": "Allow", "Action": "ecr:DescribeRepositories", "Resource": kept},
        ]
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_user_policy(UserName="ada", PolicyName="use", PolicyDocument=document)
        keys = iam.create_access_key(UserName="ada")["AccessKey"]
        hers = yard.as_user("kms", keys)
        blob = hers.encrypt(KeyId="alias/mine", Plaintext=b"x")["CiphertextBlob"]
        assert hers.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
        with refused("AccessDeniedException", f"kms:Encrypt on resource: {other['Arn']}"):
            hers.encrypt(KeyId=other["KeyId"], Plaintext=b"x")
        foreign = kms.encrypt(KeyId=other["KeyId"], Plaintext=b"x")["CiphertextBlob"]
        with refused("AccessDeniedException", f"kms:Decrypt on resource: {other['Arn']}"):
            hers.decrypt(CiphertextBlob=foreign)
        with refused("AccessDeniedException", f"kms:ReEncryptTo on resource: {other['Arn']}"):
            hers.re_encrypt(CiphertextBlob=blob, DestinationKeyId=other["KeyId"])
        with refused("AccessDeniedException", "kms:CreateKey"):
            hers.create_key()
        repositories = yard.as_user("ecr", keys)
        assert repositories.describe_repositories(repositoryNames=["mine"])["repositories"][0]["repositoryArn"] == kept
        with refused("AccessDeniedException", "ecr:DescribeRepositories"):
            repositories.describe_repositories(repositoryNames=["other"])


def test_copies_of_the_store_alone_open_nothing(tmp_path: Path) -> None:
    with served(tmp_path) as yard:
        key_id = yard.kms.create_key()["KeyMetadata"]["KeyId"]
        blob = yard.kms.encrypt(KeyId=key_id, Plaintext=b"kept")["CiphertextBlob"]
    with served(tmp_path) as yard:
        assert yard.kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"kept"
    (tmp_path / "shelf.key").write_bytes(bytes(32))
    with served(tmp_path) as yard, refused("InvalidCiphertextException"):
        yard.kms.decrypt(CiphertextBlob=blob)
