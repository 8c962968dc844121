"""The policies that AWS manages and that users of Batch, ECS, EC2, S3, Lambda and CloudWatch attach: they exist without being made.

Written from what AWS publishes, condensed to what the names of actions say: conditions that narrow AWS's own calls are left out.
"""

from __future__ import annotations

import json
from functools import lru_cache

_ECR_PULL = "ecr:GetAuthorizationToken ecr:BatchCheckLayerAvailability ecr:GetDownloadUrlForLayer ecr:BatchGetImage"
_ECR_READ = (
    f"{_ECR_PULL} ecr:GetRepositoryPolicy ecr:DescribeRepositories ecr:ListImages ecr:DescribeImages ecr:GetLifecyclePolicy "
    "ecr:GetLifecyclePolicyPreview ecr:ListTagsForResource ecr:DescribeImageScanFindings"
)
_ECR_PUSH = "ecr:InitiateLayerUpload ecr:UploadLayerPart ecr:CompleteLayerUpload ecr:PutImage"
_LOG_WRITE = "logs:CreateLogStream logs:PutLogEvents"
_SSM_AGENT = (
    "ssm:DescribeAssociation ssm:GetDeployablePatchSnapshotForInstance ssm:GetDocument ssm:DescribeDocument ssm:GetManifest "
    "ssm:GetParameter ssm:GetParameters ssm:ListAssociations ssm:ListInstanceAssociations ssm:PutInventory ssm:PutComplianceItems "
    "ssm:PutConfigurePackageResult ssm:UpdateAssociationStatus ssm:UpdateInstanceAssociationStatus ssm:UpdateInstanceInformation "
    "ssmmessages:CreateControlChannel ssmmessages:CreateDataChannel ssmmessages:OpenControlChannel ssmmessages:OpenDataChannel "
    "ec2messages:AcknowledgeMessage ec2messages:DeleteMessage ec2messages:FailMessage ec2messages:GetEndpoint ec2messages:GetMessages "
    "ec2messages:SendReply"
)
_BATCH_SERVICE = (
    "ec2:DescribeAccountAttributes ec2:DescribeInstances ec2:DescribeInstanceStatus ec2:DescribeInstanceAttribute ec2:DescribeSubnets "
    "ec2:DescribeSecurityGroups ec2:DescribeKeyPairs ec2:DescribeImages ec2:DescribeImageAttribute ec2:DescribeSpotInstanceRequests "
    "ec2:DescribeSpotFleetInstances ec2:DescribeSpotFleetRequests ec2:DescribeSpotPriceHistory ec2:DescribeSpotFleetRequestHistory "
    "ec2:DescribeVpcClassicLink ec2:DescribeLaunchTemplateVersions ec2:CreateLaunchTemplate ec2:DeleteLaunchTemplate ec2:RequestSpotFleet "
    "ec2:CancelSpotFleetRequests ec2:ModifySpotFleetRequest ec2:TerminateInstances ec2:RunInstances "
    "autoscaling:DescribeAccountLimits autoscaling:DescribeAutoScalingGroups autoscaling:DescribeLaunchConfigurations "
    "autoscaling:DescribeAutoScalingInstances autoscaling:DescribeScalingActivities autoscaling:CreateLaunchConfiguration "
    "autoscaling:CreateAutoScalingGroup autoscaling:UpdateAutoScalingGroup autoscaling:SetDesiredCapacity "
    "autoscaling:DeleteLaunchConfiguration autoscaling:DeleteAutoScalingGroup autoscaling:CreateOrUpdateTags "
    "autoscaling:SuspendProcesses autoscaling:PutNotificationConfiguration autoscaling:TerminateInstanceInAutoScalingGroup "
    "ecs:DescribeClusters ecs:DescribeContainerInstances ecs:DescribeTaskDefinition ecs:DescribeTasks ecs:ListAccountSettings "
    "ecs:ListClusters ecs:ListContainerInstances ecs:ListTaskDefinitionFamilies ecs:ListTaskDefinitions ecs:ListTasks ecs:CreateCluster "
    "ecs:DeleteCluster ecs:RegisterTaskDefinition ecs:DeregisterTaskDefinition ecs:RunTask ecs:StartTask ecs:StopTask "
    "ecs:UpdateContainerAgent ecs:DeregisterContainerInstance ecs:TagResource logs:CreateLogGroup logs:CreateLogStream logs:PutLogEvents "
    "logs:DescribeLogGroups iam:GetInstanceProfile iam:GetRole iam:PassRole iam:CreateServiceLinkedRole"
)
_ECS_AGENT = (
    "ec2:DescribeTags ecs:CreateCluster ecs:DeregisterContainerInstance ecs:DiscoverPollEndpoint ecs:Poll ecs:RegisterContainerInstance "
    f"ecs:StartTelemetrySession ecs:TagResource ecs:UpdateContainerInstancesState ecs:Submit* {_ECR_PULL} {_LOG_WRITE}"
)
_NETWORK_INTERFACES = (
    "ec2:CreateNetworkInterface ec2:DescribeNetworkInterfaces ec2:DescribeSubnets ec2:DeleteNetworkInterface "
    "ec2:AssignPrivateIpAddresses ec2:UnassignPrivateIpAddresses"
)
_SPOT_FLEET = "ec2:DescribeImages ec2:DescribeSubnets ec2:RequestSpotInstances ec2:DescribeInstanceStatus ec2:RunInstances ec2:CreateTags"

# Path and name -> the actions that are allowed on "*". `!` before an action: all but these (NotAction).
_ALLOWED: dict[str, str] = {
    "/AWSBatchFullAccess": "batch:* cloudwatch:GetMetricStatistics ec2:DescribeSubnets ec2:DescribeSecurityGroups ec2:DescribeKeyPairs "
    "ec2:DescribeVpcs ec2:DescribeImages ec2:DescribeLaunchTemplates ec2:DescribeLaunchTemplateVersions ecs:DescribeClusters ecs:Describe* "
    "ecs:List* eks:DescribeCluster eks:ListClusters logs:Describe* logs:Get* logs:TestMetricFilter logs:FilterLogEvents "
    "iam:ListInstanceProfiles iam:ListRoles iam:PassRole iam:CreateServiceLinkedRole",
    "/AWSCloudFormationFullAccess": "cloudformation:*",
    "/AWSCloudFormationReadOnlyAccess": "cloudformation:Describe* cloudformation:EstimateTemplateCost cloudformation:Get* "
    "cloudformation:List* cloudformation:ValidateTemplate cloudformation:Detect*",
    "/AWSLambda_FullAccess": "lambda:* cloudformation:DescribeStacks cloudformation:ListStackResources cloudwatch:ListMetrics "
    "cloudwatch:GetMetricData ec2:DescribeSecurityGroups ec2:DescribeSubnets ec2:DescribeVpcs kms:ListAliases iam:GetPolicy "
    "iam:GetPolicyVersion iam:GetRole iam:GetRolePolicy iam:ListAttachedRolePolicies iam:ListRolePolicies iam:ListRoles iam:PassRole "
    "logs:DescribeLogGroups logs:DescribeLogStreams logs:FilterLogEvents states:DescribeStateMachine states:ListStateMachines "
    "tag:GetResources xray:GetTraceSummaries xray:BatchGetTraces",
    "/AWSLambda_ReadOnlyAccess": "lambda:Get* lambda:List* cloudwatch:ListMetrics cloudwatch:GetMetricData iam:GetPolicy iam:GetRole "
    "iam:ListRoles logs:DescribeLogGroups logs:DescribeLogStreams logs:FilterLogEvents",
    "/AWSStepFunctionsFullAccess": "states:*",
    "/AWSXRayDaemonWriteAccess": "xray:PutTraceSegments xray:PutTelemetryRecords xray:GetSamplingRules xray:GetSamplingTargets "
    "xray:GetSamplingStatisticSummaries",
    "/AdministratorAccess": "*",
    "/AmazonDynamoDBFullAccess": "dynamodb:* dax:* application-autoscaling:* cloudwatch:*",
    "/AmazonEC2ContainerRegistryFullAccess": "ecr:* cloudtrail:LookupEvents iam:CreateServiceLinkedRole",
    "/AmazonEC2ContainerRegistryPowerUser": f"{_ECR_READ} {_ECR_PUSH}",
    "/AmazonEC2ContainerRegistryPullOnly": f"{_ECR_PULL} ecr:BatchImportUpstreamImage",
    "/AmazonEC2ContainerRegistryReadOnly": _ECR_READ,
    "/AmazonEC2FullAccess": "ec2:* elasticloadbalancing:* cloudwatch:* autoscaling:* iam:CreateServiceLinkedRole",
    "/AmazonEC2ReadOnlyAccess": "ec2:Describe* ec2:GetSecurityGroupsForVpc elasticloadbalancing:Describe* cloudwatch:ListMetrics "
    "cloudwatch:GetMetricStatistics cloudwatch:Describe* autoscaling:Describe*",
    "/AmazonECS_FullAccess": "ecs:* ec2:Describe* elasticloadbalancing:* autoscaling:* application-autoscaling:* cloudwatch:* "
    "cloudformation:* logs:CreateLogGroup logs:DescribeLogGroups logs:FilterLogEvents events:* iam:ListRoles iam:ListInstanceProfiles "
    "iam:PassRole iam:CreateServiceLinkedRole ssm:GetParameter ssm:GetParameters ssm:GetParametersByPath",
    "/AmazonElasticFileSystemClientFullAccess": "elasticfilesystem:ClientMount elasticfilesystem:ClientRootAccess "
    "elasticfilesystem:ClientWrite elasticfilesystem:DescribeMountTargets",
    "/AmazonElasticFileSystemClientReadWriteAccess": "elasticfilesystem:ClientMount elasticfilesystem:ClientWrite "
    "elasticfilesystem:DescribeMountTargets",
    "/AmazonElasticFileSystemFullAccess": "elasticfilesystem:* ec2:Describe* ec2:CreateNetworkInterface ec2:DeleteNetworkInterface "
    "ec2:ModifyNetworkInterfaceAttribute kms:DescribeKey kms:ListAliases iam:CreateServiceLinkedRole",
    "/AmazonEventBridgeFullAccess": "events:* schemas:* scheduler:* pipes:* iam:PassRole iam:CreateServiceLinkedRole",
    "/AmazonFSxFullAccess": "fsx:* iam:CreateServiceLinkedRole ec2:Describe* logs:DescribeLogGroups logs:CreateLogGroup",
    "/AmazonS3FullAccess": "s3:* s3-object-lambda:*",
    "/AmazonS3ReadOnlyAccess": "s3:Get* s3:List* s3:Describe* s3-object-lambda:Get* s3-object-lambda:List*",
    "/AmazonSNSFullAccess": "sns:*",
    "/AmazonSQSFullAccess": "sqs:*",
    "/AmazonSSMFullAccess": "cloudwatch:PutMetricData ds:CreateComputer ds:DescribeDirectories ec2:DescribeInstanceStatus logs:* ssm:* "
    "ec2messages:* iam:CreateServiceLinkedRole ssmmessages:*",
    "/AmazonSSMManagedInstanceCore": _SSM_AGENT,
    "/AmazonSSMReadOnlyAccess": "ssm:Describe* ssm:Get* ssm:List*",
    "/AmazonVPCFullAccess": "ec2:*Vpc* ec2:*Subnet* ec2:*Route* ec2:*Gateway* ec2:*SecurityGroup* ec2:*NetworkAcl* ec2:*Address* "
    "ec2:*NetworkInterface* ec2:*DhcpOptions* ec2:*FlowLogs* ec2:*Tags ec2:DescribeAccountAttributes ec2:DescribeAvailabilityZones "
    "ec2:*PrefixList*",
    "/AmazonVPCReadOnlyAccess": "ec2:Describe* ec2:GetSecurityGroupsForVpc",
    "/CloudWatchAgentServerPolicy": "cloudwatch:PutMetricData ec2:DescribeVolumes ec2:DescribeTags logs:PutLogEvents "
    "logs:PutRetentionPolicy logs:DescribeLogStreams logs:DescribeLogGroups logs:CreateLogStream logs:CreateLogGroup "
    "xray:PutTraceSegments xray:PutTelemetryRecords xray:GetSamplingRules xray:GetSamplingTargets ssm:GetParameter",
    "/CloudWatchEventsFullAccess": "events:* iam:PassRole",
    "/CloudWatchFullAccess": "autoscaling:Describe* cloudwatch:* logs:* sns:* iam:GetPolicy iam:GetPolicyVersion iam:GetRole oam:ListSinks",
    "/CloudWatchLogsFullAccess": "logs:* cloudwatch:GenerateQuery",
    "/CloudWatchLogsReadOnlyAccess": "logs:Describe* logs:Get* logs:List* logs:StartQuery logs:StopQuery logs:TestMetricFilter "
    "logs:FilterLogEvents logs:StartLiveTail logs:StopLiveTail",
    "/CloudWatchReadOnlyAccess": "autoscaling:Describe* cloudwatch:Describe* cloudwatch:Get* cloudwatch:List* logs:Get* logs:List* "
    "logs:StartQuery logs:StopQuery logs:Describe* logs:TestMetricFilter logs:FilterLogEvents sns:Get* sns:List*",
    "/IAMFullAccess": "iam:* organizations:DescribeAccount organizations:DescribeOrganization",
    "/IAMReadOnlyAccess": "iam:GenerateCredentialReport iam:GenerateServiceLastAccessedDetails iam:Get* iam:List* "
    "iam:SimulateCustomPolicy iam:SimulatePrincipalPolicy",
    "/PowerUserAccess": "!iam:* !organizations:* !account:*",
    "/ReadOnlyAccess": "batch:Describe* batch:Get* batch:List* cloudformation:Describe* cloudformation:Get* cloudformation:List* "
    "cloudwatch:Describe* cloudwatch:Get* cloudwatch:List* ec2:Describe* ec2:Get* ecr:BatchGet* ecr:Describe* ecr:Get* ecr:List* "
    "ecs:Describe* ecs:List* events:Describe* events:List* iam:Get* iam:List* iam:Generate* iam:Simulate* lambda:Get* lambda:List* "
    "logs:Describe* logs:Get* logs:FilterLogEvents logs:List* s3:Get* s3:List* secretsmanager:Describe* secretsmanager:List* "
    "secretsmanager:GetResourcePolicy ssm:Describe* ssm:Get* ssm:List* sts:GetAccessKeyInfo sts:GetCallerIdentity sts:GetSessionToken",
    "/SecretsManagerReadWrite": "secretsmanager:* cloudformation:CreateChangeSet cloudformation:DescribeChangeSet "
    "cloudformation:DescribeStackResource cloudformation:DescribeStacks cloudformation:ExecuteChangeSet ec2:DescribeSecurityGroups "
    "ec2:DescribeSubnets ec2:DescribeVpcs kms:DescribeKey kms:ListAliases kms:ListKeys lambda:ListFunctions tag:GetResources",
    "/aws-service-role/AmazonECSServiceRolePolicy": "ec2:AttachNetworkInterface ec2:CreateNetworkInterface "
    "ec2:CreateNetworkInterfacePermission ec2:DeleteNetworkInterface ec2:DeleteNetworkInterfacePermission ec2:Describe* "
    "ec2:DetachNetworkInterface elasticloadbalancing:* servicediscovery:* autoscaling:* cloudwatch:* logs:* ssmmessages:* events:*",
    "/aws-service-role/BatchServiceRolePolicy": _BATCH_SERVICE,
    "/job-function/NetworkAdministrator": "ec2:* elasticloadbalancing:* route53:* cloudwatch:* logs:* autoscaling:Describe*",
    "/job-function/ViewOnlyAccess": "batch:Describe* batch:List* cloudformation:Describe* cloudformation:List* ec2:Describe* ecs:List* "
    "ecs:Describe* iam:List* iam:GetAccountSummary iam:GetLoginProfile lambda:List* logs:Describe* s3:ListAllMyBuckets s3:ListBucket "
    "ssm:Describe* ssm:List* secretsmanager:ListSecrets",
    "/service-role/AWSBatchServiceEventTargetRole": "batch:SubmitJob",
    "/service-role/AWSBatchServiceRole": _BATCH_SERVICE,
    "/service-role/AWSLambdaBasicExecutionRole": f"logs:CreateLogGroup {_LOG_WRITE}",
    "/service-role/AWSLambdaRole": "lambda:InvokeFunction",
    "/service-role/AWSLambdaVPCAccessExecutionRole": f"logs:CreateLogGroup {_LOG_WRITE} {_NETWORK_INTERFACES}",
    "/service-role/AmazonEC2ContainerServiceEventsRole": "ecs:RunTask iam:PassRole ecs:TagResource",
    "/service-role/AmazonEC2ContainerServiceRole": "ec2:AuthorizeSecurityGroupIngress ec2:Describe* elasticloadbalancing:*",
    "/service-role/AmazonEC2ContainerServiceforEC2Role": _ECS_AGENT,
    "/service-role/AmazonEC2RoleforSSM": f"{_SSM_AGENT} cloudwatch:PutMetricData ec2:DescribeInstanceStatus logs:* "
    "s3:GetObject s3:PutObject",
    "/service-role/AmazonEC2SpotFleetAutoscaleRole": "ec2:DescribeSpotFleetRequests ec2:ModifySpotFleetRequest cloudwatch:*",
    "/service-role/AmazonEC2SpotFleetRole": f"{_SPOT_FLEET} ec2:TerminateInstances iam:PassRole",
    "/service-role/AmazonEC2SpotFleetTaggingRole": f"{_SPOT_FLEET} ec2:TerminateInstances iam:PassRole elasticloadbalancing:Register*",
    "/service-role/AmazonECSTaskExecutionRolePolicy": f"{_ECR_PULL} {_LOG_WRITE}",
    "/service-role/AmazonS3ObjectLambdaExecutionRolePolicy": f"logs:CreateLogGroup {_LOG_WRITE} s3-object-lambda:WriteGetObjectResponse",
}

PREFIX = "arn:aws:iam::aws:policy"
ARNS = tuple(sorted(PREFIX + name for name in _ALLOWED))


@lru_cache(maxsize=128)
def document_of(arn: str) -> str | None:
    """The policy document of an AWS-managed policy as JSON, None when it is not in the table."""
    allowed = _ALLOWED.get(arn.removeprefix(PREFIX)) if arn.startswith(PREFIX) else None
    if allowed is None:
        return None
    actions = allowed.split()
    element = "NotAction" if actions[0].startswith("!") else "Action"
    named = [action.lstrip("!") for action in actions]
    statement = {"Effect": "Allow", element: named[0] if len(named) == 1 else named, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
