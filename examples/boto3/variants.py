"""Variant calling as four Batch jobs with boto3: index, align, an array with one call per region, and the sum of what was found."""

from __future__ import annotations

import os
import typing

import boto3

BUCKET, QUEUE, TOOLS = (os.environ[name] for name in ("BUCKET", "QUEUE", "TOOLS"))
REGIONS = ("1-16000", "16001-32000", "32001-48502")
WORK = f"s3://{BUCKET}/boto3"
GET = "aws s3 cp --quiet"
INDEX = f"{GET} $REFERENCE r.fa; bwa index r.fa; samtools faidx r.fa; {GET} --recursive . {WORK}/index/ --exclude '*' --include 'r.*'"
ALIGN = (
    f"{GET} --recursive {WORK}/index/ .; {GET} $READS_1 1.fq.gz; {GET} $READS_2 2.fq.gz; bwa mem r.fa 1.fq.gz 2.fq.gz > a.sam; "
    f"samtools sort -o a.bam a.sam; samtools index a.bam; {GET} a.bam {WORK}/a.bam; {GET} a.bam.bai {WORK}/a.bam.bai"
)
CALL = (
    f"regions=({' '.join(REGIONS)}); region=${{regions[$AWS_BATCH_JOB_ARRAY_INDEX]}}; "
    f"{GET} --recursive {WORK}/index/ .; {GET} {WORK}/a.bam a.bam; {GET} {WORK}/a.bam.bai a.bam.bai; "
    "name=$(cut -f 1 r.fa.fai); bcftools mpileup -Ou -f r.fa -r $name:$region -o a.bcf a.bam; "
    f"bcftools call --ploidy 1 -mv -Ov -o a.vcf a.bcf; {GET} a.vcf {WORK}/$AWS_BATCH_JOB_ARRAY_INDEX.vcf"
)
SUM = f"{GET} --recursive {WORK}/ . --exclude '*' --include '?.vcf'; cat ?.vcf | grep -vc '^#'"


def main() -> None:
    """Submit all four at once, wait for the last, print its log."""
    batch, logs = boto3.client("batch"), boto3.client("logs")
    batch.register_job_definition(
        jobDefinitionName="variants",
        type="container",
        parameters={"script": "true"},
        containerProperties={
            "image": "genomics-tools",
            "command": ["bash", "-e", "-o", "pipefail", "-c", "Ref::script"],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}],
            "environment": [
                {"name": "PATH", "value": f"{TOOLS}:{os.environ['PATH']}"},
                *({"name": name, "value": os.environ[name]} for name in ("REFERENCE", "READS_1", "READS_2")),
            ],
        },
        retryStrategy={
            "attempts": 3,
            "evaluateOnExit": [{"onStatusReason": "Host EC2*", "action": "RETRY"}, {"onReason": "*", "action": "EXIT"}],
        },
    )

    def submit(name: str, script: str, after: str | None = None, **more: typing.Any) -> str:
        depends_on = [{"jobId": after}] if after else []
        answer = batch.submit_job(
            jobName=name, jobQueue=QUEUE, jobDefinition="variants", parameters={"script": script}, dependsOn=depends_on, **more
        )
        return str(answer["jobId"])

    indexed = submit("index", INDEX)
    aligned = submit("align", ALIGN, indexed)
    called = submit("call", CALL, aligned, arrayProperties={"size": len(REGIONS)})
    summed = submit("sum", SUM, called)
    batch.get_waiter("job_succeeded").wait(jobs=[indexed, aligned, called, summed])
    [last] = batch.describe_jobs(jobs=[summed])["jobs"]
    events = logs.get_log_events(logGroupName="/aws/batch/job", logStreamName=last["container"]["logStreamName"], startFromHead=True)[
        "events"
    ]
    print(*(event["message"] for event in events), "variants")


if __name__ == "__main__":
    main()
