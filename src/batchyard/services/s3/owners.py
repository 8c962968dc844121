"""S3's names for accounts: 64 hexadecimal digits, here the account number, padded."""

from __future__ import annotations


def canonical_id(account: str) -> str:
    """The canonical user id of an account."""
    return account.rjust(64, "0")


def canonical_account(canonical: str) -> str:
    """The account of a canonical user id; what was no id of ours comes back as it is, and is nobody's."""
    return canonical[-12:] if len(canonical) == 64 and canonical.startswith("0" * 52) else canonical
