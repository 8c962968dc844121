"""What of AWS KMS's model is not there, and why."""

from __future__ import annotations

_GRANTS = "there are no grants: IAM's policies say who may use a key"
_STORES = "there are no custom key stores"
_ASYMMETRIC = "keys are symmetric and for encryption only"
_IMPORT = "key material is the service's own"
_REGIONS = "keys belong to one region"
_ROTATIONS = "key material is never replaced"

NOT_YET: dict[str, str] = {
    **dict.fromkeys(("CreateGrant", "ListGrants", "ListRetirableGrants", "RetireGrant", "RevokeGrant"), _GRANTS),
    **dict.fromkeys(
        (
            "ConnectCustomKeyStore",
            "CreateCustomKeyStore",
            "DeleteCustomKeyStore",
            "DescribeCustomKeyStores",
            "DisconnectCustomKeyStore",
            "UpdateCustomKeyStore",
        ),
        _STORES,
    ),
    **dict.fromkeys(
        (
            "Decapsulate",
            "DeriveSharedSecret",
            "Encapsulate",
            "GenerateDataKeyPair",
            "GenerateDataKeyPairWithoutPlaintext",
            "GenerateMac",
            "GetPublicKey",
            "Sign",
            "Verify",
            "VerifyMac",
        ),
        _ASYMMETRIC,
    ),
    **dict.fromkeys(("DeleteImportedKeyMaterial", "GetParametersForImport", "ImportKeyMaterial"), _IMPORT),
    **dict.fromkeys(("ReplicateKey", "UpdatePrimaryRegion"), _REGIONS),
    **dict.fromkeys(("ListKeyRotations", "RotateKeyOnDemand"), _ROTATIONS),
    "GetKeyLastUsage": "when a key was last used is not noted",
}
