"""The operations of CloudFormation that are not served, and why."""

from __future__ import annotations

_REASONS: dict[str, str] = {
    "events stand in DescribeStackEvents": "DescribeEvents",
    "there is no limit to the stacks of an account": "DescribeAccountLimits",
    "there is no page of AWS's calculator to lead to: `batchyard stack plan` tells the range of cost": "EstimateTemplateCost",
    "there are no stack sets: a service has the stacks of its own account": """
        ActivateOrganizationsAccess CreateStackInstances CreateStackSet DeactivateOrganizationsAccess DeleteStackInstances DeleteStackSet
        DescribeOrganizationsAccess DescribeStackInstance DescribeStackSet DescribeStackSetOperation DetectStackSetDrift
        ImportStacksToStackSet ListStackInstanceResourceDrifts ListStackInstances ListStackSetAutoDeploymentTargets
        ListStackSetOperationResults ListStackSetOperations ListStackSets StopStackSetOperation UpdateStackInstances UpdateStackSet
    """,
    "nothing is registered: the types are those that come with the service": """
        ActivateType BatchDescribeTypeConfigurations DeactivateType DeregisterType DescribePublisher DescribeTypeRegistration
        ListTypeRegistrations ListTypeVersions PublishType RecordHandlerProgress RegisterPublisher RegisterType
        SetTypeConfiguration SetTypeDefaultVersion TestType
    """,
    "templates are not made from what is there": """
        CreateGeneratedTemplate DeleteGeneratedTemplate DescribeGeneratedTemplate DescribeResourceScan GetGeneratedTemplate
        ListGeneratedTemplates ListResourceScanRelatedResources ListResourceScanResources ListResourceScans StartResourceScan
        UpdateGeneratedTemplate
    """,
    "resources do not move between stacks": """
        CreateStackRefactor DescribeStackRefactor ExecuteStackRefactor ListStackRefactorActions ListStackRefactors
    """,
    "there are no hooks": "DescribeChangeSetHooks GetHookResult ListHookResults",
    "these are not operations that a client may call on AWS": "RemoveAlias SetAlias",
}

NOT_YET: dict[str, str] = {name: why for why, names in _REASONS.items() for name in names.split()}
