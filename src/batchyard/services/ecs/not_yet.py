"""The operations of ECS that are not served, and why."""

from __future__ import annotations

_REASONS: dict[str, str] = {
    "there are no services: Batch runs jobs": """
        AssociateGatewayWithCluster ContinueServiceDeployment CreateDaemon CreateExpressGatewayService CreateGateway CreateService
        CreateTaskSet DeleteDaemon DeleteDaemonTaskDefinition DeleteExpressGatewayService DeleteGateway DeleteService DeleteTaskSet
        DescribeDaemon DescribeDaemonDeployments DescribeDaemonRevisions DescribeDaemonTaskDefinition DescribeExpressGatewayService
        DescribeGateway DescribeGatewayResources DescribeGatewayRoute DescribeServiceDeployments DescribeServiceRevisions DescribeServices
        DescribeTaskSets DisassociateGatewayFromCluster GetTaskProtection ListDaemonDeployments ListDaemonTaskDefinitions ListDaemons
        ListGatewayClusterAssociations ListGatewayRoutes ListGateways ListServiceDeployments ListServices ListServicesByNamespace
        RegisterDaemonTaskDefinition StopServiceDeployment UpdateDaemon UpdateExpressGatewayService UpdateGateway UpdateService
        UpdateServicePrimaryTaskSet UpdateTaskProtection UpdateTaskSet
    """,
    "clusters come and go with compute environments": """
        CreateCapacityProvider CreateCluster DeleteCapacityProvider DeleteCluster DescribeCapacityProviders PutClusterCapacityProviders
        UpdateCapacityProvider UpdateCluster UpdateClusterSettings
    """,
    "it has no meaning for clusters that Batch keeps": """
        DeleteAccountSetting ListAccountSettings ListTagsForResource PutAccountSetting PutAccountSettingDefault TagResource UntagResource
    """,
    "instances come and go with compute environments": """
        DeleteAttributes DeregisterContainerInstance DiscoverPollEndpoint ListAttributes PutAttributes RegisterContainerInstance
        SubmitAttachmentStateChanges SubmitContainerStateChange SubmitTaskStateChange UpdateContainerAgent UpdateContainerInstancesState
    """,
    "tasks are the attempts of jobs: submit a job, or terminate it": """
        DeleteTaskDefinitions DeregisterTaskDefinition DescribeTaskDefinition ExecuteCommand ListTaskDefinitionFamilies
        ListTaskDefinitions RegisterTaskDefinition RunTask StartTask StopTask
    """,
}

NOT_YET: dict[str, str] = {name: why for why, names in _REASONS.items() for name in names.split()}
