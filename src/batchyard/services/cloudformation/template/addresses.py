"""Blocks of addresses within a block: what Fn::Cidr counts out."""

from __future__ import annotations

import ipaddress

MAX_BLOCKS = 256


def blocks(block: str, count: int, bits: int | None = None) -> list[str]:
    """The first `count` blocks of `block` with `bits` for hosts each; without `bits` the largest ones of which that many fit.

    Raises ValueError when that is no block, or they do not fit into it.
    """
    whole = ipaddress.ip_network(block, strict=False)
    if not 1 <= count <= MAX_BLOCKS:
        raise ValueError(f"{count} is not from 1 to {MAX_BLOCKS}")
    free = whole.max_prefixlen - whole.prefixlen
    bits = free - (count - 1).bit_length() if bits is None else bits
    if not 0 <= bits <= free or (free - bits < MAX_BLOCKS.bit_length() and 1 << (free - bits) < count):
        raise ValueError(f"{count} blocks of {bits} bits do not fit into {whole}")
    kind, first = type(whole.network_address), int(whole.network_address)
    return [f"{kind(first + (number << bits))}/{whole.max_prefixlen - bits}" for number in range(count)]
