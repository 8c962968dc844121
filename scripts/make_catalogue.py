"""Writes src/batchyard/compute/instance_types.json: sizes from moto's catalogue, on-demand Linux prices from libcloud's.

    python scripts/make_catalogue.py PATH_TO_MOTO_PACKAGE PATH_TO_LIBCLOUD_PACKAGE

Facts only: vCPUs, memory in MiB, GPUs, USD per hour in us-east-1 (0 where the source has none).
"""

from __future__ import annotations

import datetime
import gzip
import json
import sys
from pathlib import Path

TARGET = Path(__file__).parent.parent / "src/batchyard/compute/instance_types.json"


def main(moto: Path, libcloud: Path) -> None:
    types = json.loads(gzip.decompress((moto / "ec2/resources/instance_types.json.gz").read_bytes()))
    prices_file = json.loads((libcloud / "data/pricing.json").read_text())
    prices = prices_file["compute"]["ec2_linux"]
    rows = {}
    for name, record in sorted(types.items()):
        gpus = sum(g.get("Count", 0) for g in record.get("GpuInfo", {}).get("Gpus", []))
        architectures = record.get("ProcessorInfo", {}).get("SupportedArchitectures", [])
        price = float(prices.get(name, {}).get("us-east-1") or 0)
        arm = int("arm64" in architectures)
        rows[name] = [record["VCpuInfo"]["DefaultVCpus"], record["MemoryInfo"]["SizeInMiB"], gpus, arm, price]
    updated = prices_file["updated"]
    out = {
        "about": "instance type: [vCPUs, memory in MiB, GPUs, 1 if ARM, USD per hour on demand, Linux, us-east-1; 0 = unknown]",
        "sizes_from": "moto, EC2 instance type records (Apache-2.0)",
        "prices_from": f"apache-libcloud pricing data (Apache-2.0), dated {datetime.date.fromtimestamp(updated)}",
        "types": rows,
    }
    text = json.dumps(out, indent=0, separators=(",", ":"))
    TARGET.write_text(text.replace(",\n", ",").replace("[\n", "[").replace("\n]", "]").replace('],"', '],\n"') + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
