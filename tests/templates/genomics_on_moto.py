"""A stand-in for an AWS account: moto in this process, helped where its CloudFormation is thinner than AWS's.

moto deploys every type of the template but AWS::S3::BucketPolicy. What it leaves out or does otherwise, and what is
done about it here:

- a compute environment without ServiceRole is refused: any role is named;
- RetainExceptOnCreate is not known, and deletes: Retain is said;
- list parameters are not split when they come from a default: every parameter is given;
- of a bucket only encryption and tags are set, a queue gets no tags: the rest is set here through the API, from the
  resolved template;
- a Deny of a bucket policy holds whatever its condition says: RequireTls is taken as false;
- a stack that is deleted is described as such here;
- jobs succeed at once without running, and IAM has no policy simulator: what a job would leave behind is written here,
  and the role's own policy is read.

None of this shows that AWS takes the template; it shows that the stack fits together, and that the check script asks
the right questions.
"""

from __future__ import annotations

import ast
import json
from fnmatch import fnmatchcase
from typing import Any

import botocore.loaders
import botocore.session
from genomics_stack import REGION, load_template, parameter_values, resolve

LOADER = botocore.loaders.create_loader()  # shared, since reading a service's model takes longer than a test
CONFIG: Any = {"batch": {"use_docker": False}}


def session() -> Any:
    """A botocore session with false credentials and a region."""
    made = botocore.session.Session()
    made.register_component("data_loader", LOADER)
    made.set_credentials("AKIDEXAMPLE", "false-secret")
    made.set_config_variable("region", REGION)
    return made


def default_network(made: Any) -> dict[str, str]:
    """VpcId and SubnetIds of moto's default VPC."""
    ec2 = made.create_client("ec2", region_name=REGION)
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    return {"VpcId": vpc, "SubnetIds": ",".join(subnet["SubnetId"] for subnet in subnets)}


def body_for_moto() -> str:
    """The template as moto takes it."""
    template = load_template()
    for name, resource in list(template["Resources"].items()):
        if resource["Type"] == "AWS::S3::BucketPolicy":
            del template["Resources"][name]
        if resource.get("DeletionPolicy") == "RetainExceptOnCreate":
            resource["DeletionPolicy"] = "Retain"
        if resource["Type"] == "AWS::Batch::ComputeEnvironment":
            resource["Properties"]["ServiceRole"] = {"Fn::GetAtt": ["InstanceRole", "Arn"]}
    del template["Resources"]["ResultsBucket"]["DependsOn"], template["Rules"]
    return json.dumps(template)


def parameters_for_moto(given: dict[str, str]) -> list[dict[str, str]]:
    """Every parameter with its value, as CreateStack takes them."""
    values = parameter_values(load_template(), given)
    return [
        {"ParameterKey": name, "ParameterValue": ",".join(value) if isinstance(value, list) else str(value)}
        for name, value in values.items()
    ]


def finish(made: Any, stack_name: str, given: dict[str, str]) -> None:
    """Sets on moto's buckets and queues what its CloudFormation left out."""
    stack = resolve(load_template(), given | {"RequireTls": "false"})
    cloudformation, s3, batch = (made.create_client(name) for name in ("cloudformation", "s3", "batch"))
    summaries = cloudformation.list_stack_resources(StackName=stack_name)["StackResourceSummaries"]
    physical = {entry["LogicalResourceId"]: entry["PhysicalResourceId"] for entry in summaries}
    for name in {"ResultsBucket", "LogBucket"} & stack.resources.keys():
        bucket, properties = physical[name], stack.properties(name)
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=properties["PublicAccessBlockConfiguration"])
        s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=properties["OwnershipControls"])
        rules = [lifecycle_rule(rule) for rule in properties["LifecycleConfiguration"]["Rules"]]
        s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
        if "VersioningConfiguration" in properties:
            s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=properties["VersioningConfiguration"])
    for name, bucket in (("ResultsBucketPolicy", "ResultsBucket"), ("LogBucketPolicy", "LogBucket")):
        if name in stack.resources:
            policy = json.dumps(stack.properties(name)["PolicyDocument"])
            policy = policy.replace(stack.reference(bucket), physical[bucket])
            s3.put_bucket_policy(Bucket=physical[bucket], Policy=policy)
    if "ResultsBucket" in stack.resources:
        prefix = stack.properties("ResultsBucket")["LoggingConfiguration"]["LogFilePrefix"]
        target = {"LoggingEnabled": {"TargetBucket": physical["LogBucket"], "TargetPrefix": prefix}}
        s3.put_bucket_logging(Bucket=physical["ResultsBucket"], BucketLoggingStatus=target)
    for name in ("DefaultJobQueue", "HighPriorityJobQueue"):
        batch.tag_resource(resourceArn=physical[name], tags=stack.properties(name)["Tags"])


def lifecycle_rule(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule of the template in the words of PutBucketLifecycleConfiguration."""
    said = {"ID": rule["Id"], "Status": rule["Status"], "Filter": {"Prefix": ""}}
    if "ExpirationInDays" in rule:
        said["Expiration"] = {"Days": rule["ExpirationInDays"]}
    for name in ("AbortIncompleteMultipartUpload", "NoncurrentVersionExpiration"):
        if name in rule:
            said[name] = rule[name]
    return said


def deploy(made: Any, stack_name: str, given: dict[str, str]) -> dict[str, str]:
    """Deploys the template onto moto and returns the stack's outputs."""
    given = default_network(made) | given
    cloudformation = made.create_client("cloudformation")
    cloudformation.create_stack(
        StackName=stack_name,
        TemplateBody=body_for_moto(),
        Parameters=parameters_for_moto(given),
        Capabilities=["CAPABILITY_IAM"],
    )
    finish(made, stack_name, given)
    (stack,) = cloudformation.describe_stacks(StackName=stack_name)["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


class DressedAccount:
    """A session whose calls the check script may take for an AWS account's; `break_it` then spoils one thing.

    It speaks through botocore's own events, so the script runs as it is.
    """

    def __init__(self, stack_name: str, mark: str) -> None:
        self.stack_name = stack_name
        self.mark = mark
        self.plain = session()
        self.session = session()
        self.calls: list[str] = []
        self.given: dict[str, str] = {}
        self.runs_on: dict[str, str] = {}  # job id -> ARN of the environment that it should seem to run in
        self.job_leaves = {"log", "result"}
        self.submitted: dict[str, Any] = {}
        self.after_create: list[Any] = []
        self.deleted: set[str] = set()
        for event, handler in (
            ("before-call.*.*", self._note),
            ("provide-client-params.cloudformation.CreateStack", self._create_stack),
            ("after-call.cloudformation.CreateStack", self._stack_created),
            ("before-call.cloudformation.DeleteStack", self._delete_stack),
            ("before-call.cloudformation.DescribeStacks", self._describe_stacks),
            ("provide-client-params.batch.SubmitJob", self._submit_job),
            ("after-call.batch.SubmitJob", self._job_submitted),
            ("after-call.batch.DescribeJobs", self._jobs_described),
            ("before-call.iam.SimulatePrincipalPolicy", self._simulate),
        ):
            self.session.register(event, handler)

    def _note(self, model: Any, **_: Any) -> None:
        self.calls.append(model.name)

    def _create_stack(self, params: dict[str, Any], **_: Any) -> dict[str, Any]:
        self.given = {entry["ParameterKey"]: entry["ParameterValue"] for entry in params["Parameters"]}
        return params | {"TemplateBody": body_for_moto(), "Parameters": parameters_for_moto(self.given)}

    def _stack_created(self, parsed: dict[str, Any], **_: Any) -> None:
        if "StackId" in parsed:
            finish(self.plain, self.stack_name, self.given)
            for break_it in self.after_create:
                break_it(self.plain, self.outputs())

    def outputs(self) -> dict[str, str]:
        (stack,) = self.plain.create_client("cloudformation").describe_stacks(StackName=self.stack_name)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def _submit_job(self, params: dict[str, Any], **_: Any) -> None:
        self.submitted = params

    def _job_submitted(self, parsed: dict[str, Any], **_: Any) -> None:
        """Leaves behind what the job would: its output and its result; and remembers the queue's first environment."""
        outputs, job_id, queue = self.outputs(), parsed["jobId"], self.submitted["jobQueue"]
        batch, logs, s3 = (self.plain.create_client(name) for name in ("batch", "logs", "s3"))
        (found,) = batch.describe_job_queues(jobQueues=[queue])["jobQueues"]
        self.runs_on[job_id] = min(found["computeEnvironmentOrder"], key=lambda entry: entry["order"])["computeEnvironment"]
        if "log" in self.job_leaves:
            here = {"logGroupName": outputs["GenomicsEnvLogGroup"], "logStreamName": f"starter/default/{job_id}"}
            logs.create_log_stream(**here)
            stamp = logs.describe_log_groups()["logGroups"][0]["creationTime"]
            logs.put_log_events(**here, logEvents=[{"timestamp": stamp, "message": f"{self.mark} in {queue}"}])
        if "result" in self.job_leaves:
            s3.put_object(Bucket=outputs["GenomicsEnvS3Bucket"], Key=f"check/{job_id}.txt", Body=self.mark.encode())

    def _jobs_described(self, parsed: dict[str, Any], **_: Any) -> None:
        batch = self.plain.create_client("batch")
        for job in parsed["jobs"]:
            arns = [self.runs_on[job["jobId"]]]
            (environment,) = batch.describe_compute_environments(computeEnvironments=arns)["computeEnvironments"]
            cluster = environment["ecsClusterArn"].rsplit("/", 1)[1]
            container = job.setdefault("container", {})
            container["containerInstanceArn"] = f"arn:aws:ecs:{REGION}:1:container-instance/{cluster}/0123"
            container["logStreamName"] = f"starter/default/{job['jobId']}"

    def _simulate(self, params: dict[str, Any], request_signer: Any, **_: Any) -> Any:
        """IAM's simulator, as far as the job role's own Allow statements go."""
        fields = params["body"]
        role, action, resource = (fields[n] for n in ("PolicySourceArn", "ActionNames.member.1", "ResourceArns.member.1"))
        iam = self.plain.create_client("iam")
        answer = iam.get_role_policy(RoleName=role.rsplit("/", 1)[1], PolicyName="results-and-logs")
        document = answer["PolicyDocument"]  # moto keeps a policy of a stack's role as Python writes it
        statements = (document if isinstance(document, dict) else ast.literal_eval(document))["Statement"]
        allowed = any(
            fnmatchcase(action, one_action) and fnmatchcase(resource, one_resource)
            for entry in filter(None, statements)  # moto leaves a hole where NoValue stood
            for one_action in listed(entry["Action"])
            for one_resource in listed(entry["Resource"])
        )
        return answered({"EvaluationResults": [{"EvalDecision": "allowed" if allowed else "implicitDeny"}]})

    def _delete_stack(self, params: dict[str, Any], **_: Any) -> None:
        self.deleted.add(params["body"]["StackName"])

    def _describe_stacks(self, params: dict[str, Any], **_: Any) -> Any:
        """moto makes queues again when it describes a deleted stack; AWS just says that it is deleted."""
        if params["body"].get("StackName") in self.deleted:
            return answered({"Stacks": [{"StackName": self.stack_name, "StackStatus": "DELETE_COMPLETE"}]})
        return None


def answered(parsed: dict[str, Any], status: int = 200) -> Any:
    """An answer as botocore's before-call event takes it, in place of a request."""
    return type("Response", (), {"status_code": status})(), parsed


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
