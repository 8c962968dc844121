"""A DAG of two jobs with Airflow's BatchOperator."""

from __future__ import annotations

import os

from airflow.providers.amazon.aws.hooks.batch_client import BatchClientHook
from airflow.providers.amazon.aws.operators.batch import BatchOperator
from airflow.sdk import DAG

# Airflow looks every 1 to 10 seconds by default; these jobs take less than one.
BatchClientHook.DEFAULT_DELAY_MIN, BatchClientHook.DEFAULT_DELAY_MAX = 0, 1

FETCH = "aws s3 cp --quiet $READS_1 1.fq.gz; "

with DAG("reads") as dag:
    common = {
        "job_queue": os.environ["QUEUE"],
        "job_definition": "shell",
        "aws_conn_id": None,
        "region_name": os.environ["AWS_REGION"],
        "awslogs_enabled": True,
        "status_retries": 5,
    }
    count = BatchOperator(
        task_id="count",
        job_name="count",
        parameters={"script": FETCH + "echo $(( $(gzip -cd 1.fq.gz | wc -l) / 4 )) reads"},
        **common,
    )
    longest = BatchOperator(
        task_id="longest",
        job_name="longest",
        parameters={"script": FETCH + "gzip -cd 1.fq.gz | awk 'NR % 4 == 2 && length > n { n = length } END { print n, \"bases\" }'"},
        **common,
    )
    count >> longest
