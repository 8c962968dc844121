"""A Prefect flow that submits two Batch jobs, the second after the first, and waits for both by prefect-aws's own tasks."""

from __future__ import annotations

import os

from prefect import flow
from prefect_aws import AwsCredentials
from prefect_aws.batch import batch_submit
from prefect_aws.client_waiter import client_waiter

DEFINITION = os.environ["DEFINITION"]


@flow(log_prints=True)
def count_and_stop() -> None:
    """Count the reads, then say so in a job that depends on the first."""
    credentials = AwsCredentials(region_name=os.environ["AWS_REGION"])
    first = batch_submit("count", os.environ["QUEUE"], DEFINITION, credentials)
    second = batch_submit("after", os.environ["QUEUE"], DEFINITION, credentials, dependsOn=[{"jobId": first}])
    client_waiter("batch", "job_complete", credentials, jobs=[first, second], WaiterConfig={"Delay": 1})
    print("both jobs are complete")


if __name__ == "__main__":
    count_and_stop()
