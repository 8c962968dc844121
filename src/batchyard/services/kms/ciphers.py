"""Encryption with keys: sealed with the folder's own key (`store/sealing.py`) for one KMS key, its material and an encryption context."""

from __future__ import annotations

import json
import os
import uuid

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.desk import Sealing
from batchyard.services.kms.records import SYMMETRIC, key_arn, require, require_usable
from batchyard.store.sealing import NotSealedHere
from batchyard.store.shelf import Document, Drawer

_MARK = b"BYK1"
_ID_BYTES = 16
_DATA_KEYS = {"AES_256": 32, "AES_128": 16}


def encrypt(sealer: Sealing, drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, Encrypt: at most 4096 bytes."""
    _refuse_not_available(params)
    key = _usable(drawer, caller, params["KeyId"])
    _refuse_dry_run(params)
    sealed = _seal(sealer, caller, key, params["Plaintext"], params.get("EncryptionContext"))
    return {"CiphertextBlob": sealed, "KeyId": key_arn(caller, key["id"]), "EncryptionAlgorithm": SYMMETRIC}


def decrypt(sealer: Sealing, drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, Decrypt: the key is named in the ciphertext."""
    _refuse_not_available(params)
    key, text = _opened(sealer, drawer, caller, params.get("CiphertextBlob", b""), params.get("EncryptionContext"), params.get("KeyId"))
    _refuse_dry_run(params)
    return {"KeyId": key_arn(caller, key["id"]), "Plaintext": text, "EncryptionAlgorithm": SYMMETRIC}


def re_encrypt(sealer: Sealing, drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ReEncrypt: the plain text is not shown."""
    _refuse_not_available(params)
    source, text = _opened(
        sealer, drawer, caller, params.get("CiphertextBlob", b""), params.get("SourceEncryptionContext"), params.get("SourceKeyId")
    )
    key = _usable(drawer, caller, params["DestinationKeyId"])
    _refuse_dry_run(params)
    return {
        "CiphertextBlob": _seal(sealer, caller, key, text, params.get("DestinationEncryptionContext")),
        "SourceKeyId": key_arn(caller, source["id"]),
        "KeyId": key_arn(caller, key["id"]),
        "SourceEncryptionAlgorithm": SYMMETRIC,
        "DestinationEncryptionAlgorithm": SYMMETRIC,
    }


def generate_data_key(sealer: Sealing, drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GenerateDataKey: in clear, and sealed for Decrypt."""
    _refuse_not_available(params)
    spec, size = params.get("KeySpec"), params.get("NumberOfBytes")
    if (spec is None) == (size is None):
        raise Fault("ValidationException", "Please specify either number of bytes or key spec.")
    key = _usable(drawer, caller, params["KeyId"])
    _refuse_dry_run(params)
    text = os.urandom(_DATA_KEYS[spec] if spec else size or 0)
    sealed = _seal(sealer, caller, key, text, params.get("EncryptionContext"))
    return {"CiphertextBlob": sealed, "Plaintext": text, "KeyId": key_arn(caller, key["id"])}


def generate_data_key_without_plaintext(sealer: Sealing, drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GenerateDataKeyWithoutPlaintext."""
    made = generate_data_key(sealer, drawer, caller, params)
    return {"CiphertextBlob": made["CiphertextBlob"], "KeyId": made["KeyId"]}


def generate_random(sealer: Sealing, drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GenerateRandom."""
    _refuse_not_available(params)
    if not params.get("NumberOfBytes"):
        raise Fault("ValidationException", "NumberOfBytes: say how many bytes are wanted, 1 to 1024")
    return {"Plaintext": os.urandom(params["NumberOfBytes"])}


def key_id_in(blob: bytes) -> str:
    """The id of the key that sealed a ciphertext, "" for what is none of ours."""
    if not blob.startswith(_MARK) or len(blob) < len(_MARK) + _ID_BYTES:
        return ""
    return str(uuid.UUID(bytes=blob[len(_MARK) : len(_MARK) + _ID_BYTES]))


def _usable(drawer: Drawer, caller: Caller, asked: str) -> Document:
    key = require(drawer, caller, asked)
    require_usable(caller, key)
    return key


def _context_of(caller: Caller, key: Document, context: dict[str, str] | None) -> str:
    """Nobody can open it for another key, context or account; the key's material dies with it."""
    bound = json.dumps(context or {}, sort_keys=True, separators=(",", ":"))
    return f"kms {key_arn(caller, key['id'])} {key['material'].hex()} {bound}"


def _seal(sealer: Sealing, caller: Caller, key: Document, text: bytes, context: dict[str, str] | None) -> bytes:
    return _MARK + uuid.UUID(key["id"]).bytes + sealer.seal(text, _context_of(caller, key, context))


def _opened(
    sealer: Sealing, drawer: Drawer, caller: Caller, blob: bytes, context: dict[str, str] | None, asked: str | None
) -> tuple[Document, bytes]:
    """(the key, the plain text). InvalidCiphertextException for another context, a damaged blob, or one that is none of ours."""
    key_id = key_id_in(blob)
    if asked:
        key = _usable(drawer, caller, asked)
        if key_id and key["id"] != key_id:
            raise Fault("IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation.")
    if not key_id:
        raise _not_ours()
    key = _usable(drawer, caller, key_id)
    try:
        return key, sealer.open(blob[len(_MARK) + _ID_BYTES :], _context_of(caller, key, context))
    except NotSealedHere:
        raise _not_ours() from None


def _not_ours() -> Fault:
    return Fault("InvalidCiphertextException", "The ciphertext was not made by this key in this encryption context, or has changed since.")


def _refuse_not_available(params: Params) -> None:
    for member in ("Recipient", "GrantTokens", "CustomKeyStoreId", "DryRunModifiers"):
        if params.get(member):
            raise Fault("UnsupportedOperationException", f"{member}: not available in this version of Batchyard; leave it out.")
    for member in ("EncryptionAlgorithm", "SourceEncryptionAlgorithm", "DestinationEncryptionAlgorithm"):
        if params.get(member, SYMMETRIC) != SYMMETRIC:
            raise Fault("InvalidKeyUsageException", f"{member}: {params[member]} is not compatible with the key spec {SYMMETRIC}")


def _refuse_dry_run(params: Params) -> None:
    if params.get("DryRun"):
        raise Fault("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
