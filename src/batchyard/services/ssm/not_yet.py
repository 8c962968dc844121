"""The operations of Systems Manager that are not served, and why."""

from __future__ import annotations

_REASONS: dict[str, str] = {
    "there is no OpsCenter": """
        AssociateOpsItemRelatedItem CreateOpsItem CreateOpsMetadata DeleteOpsItem DeleteOpsMetadata DescribeOpsItems
        DisassociateOpsItemRelatedItem GetOpsItem GetOpsMetadata GetOpsSummary ListOpsItemEvents ListOpsItemRelatedItems ListOpsMetadata
        UpdateOpsItem UpdateOpsMetadata
    """,
    "nothing can be run on an instance from outside: jobs are the way to run things": """
        CancelCommand DescribeSessions GetAccessToken GetCommandInvocation GetConnectionStatus ListCommandInvocations ListCommands
        ResumeSession SendCommand StartAccessRequest StartSession TerminateSession
    """,
    "there are no maintenance windows": """
        CancelMaintenanceWindowExecution CreateMaintenanceWindow DeleteMaintenanceWindow DeregisterTargetFromMaintenanceWindow
        DeregisterTaskFromMaintenanceWindow DescribeMaintenanceWindowExecutionTaskInvocations DescribeMaintenanceWindowExecutionTasks
        DescribeMaintenanceWindowExecutions DescribeMaintenanceWindowSchedule DescribeMaintenanceWindowTargets
        DescribeMaintenanceWindowTasks DescribeMaintenanceWindows DescribeMaintenanceWindowsForTarget GetMaintenanceWindow
        GetMaintenanceWindowExecution GetMaintenanceWindowExecutionTask GetMaintenanceWindowExecutionTaskInvocation
        GetMaintenanceWindowTask RegisterTargetWithMaintenanceWindow RegisterTaskWithMaintenanceWindow UpdateMaintenanceWindow
        UpdateMaintenanceWindowTarget UpdateMaintenanceWindowTask
    """,
    "only Parameter Store is there: there are no managed nodes": """
        CreateActivation DeleteActivation DeregisterManagedInstance DescribeActivations DescribeInstanceInformation
        DescribeInstanceProperties ListNodes ListNodesSummary UpdateManagedInstanceRole
    """,
    "there are no associations: jobs are the way to run things": """
        CreateAssociation CreateAssociationBatch DeleteAssociation DescribeAssociation DescribeAssociationExecutionTargets
        DescribeAssociationExecutions DescribeEffectiveInstanceAssociations DescribeInstanceAssociationsStatus ListAssociationVersions
        ListAssociations StartAssociationsOnce UpdateAssociation UpdateAssociationStatus
    """,
    "there is nothing to connect to or to export to": """
        CreateCloudConnector CreateResourceDataSync DeleteCloudConnector DeleteResourceDataSync GetCloudConnector ListCloudConnectors
        ListResourceDataSync UpdateCloudConnector UpdateResourceDataSync ValidateCloudConnector
    """,
    "there are no documents": """
        CreateDocument DeleteDocument DescribeDocument DescribeDocumentPermission GetCalendarState GetDocument ListDocumentMetadataHistory
        ListDocumentVersions ListDocuments ModifyDocumentPermission UpdateDocument UpdateDocumentDefaultVersion UpdateDocumentMetadata
    """,
    "there are no patch baselines: slices of this machine are not patched by it": """
        CreatePatchBaseline DeletePatchBaseline DeregisterPatchBaselineForPatchGroup DescribeAvailablePatches
        DescribeEffectivePatchesForPatchBaseline DescribeInstancePatchStates DescribeInstancePatchStatesForPatchGroup
        DescribeInstancePatches DescribePatchBaselines DescribePatchGroupState DescribePatchGroups DescribePatchProperties
        GetDefaultPatchBaseline GetDeployablePatchSnapshotForInstance GetPatchBaseline GetPatchBaselineForPatchGroup
        RegisterDefaultPatchBaseline RegisterPatchBaselineForPatchGroup UpdatePatchBaseline
    """,
    "there is no inventory of instances": """
        DeleteInventory DescribeInventoryDeletions GetInventory GetInventorySchema ListComplianceItems ListComplianceSummaries
        ListInventoryEntries ListResourceComplianceSummaries PutComplianceItems PutInventory
    """,
    "there are no settings of the service to change": """
        DeleteResourcePolicy DeregisterDefaultHostManagementConfiguration GetResourcePolicies GetServiceSetting PutResourcePolicy
        RegisterDefaultHostManagementConfiguration ResetServiceSetting UpdateServiceSetting
    """,
    "there is no automation": """
        DescribeAutomationExecutions DescribeAutomationStepExecutions GetAutomationExecution GetExecutionPreview SendAutomationSignal
        StartAutomationExecution StartChangeRequestExecution StartExecutionPreview StopAutomationExecution
    """,
}

NOT_YET: dict[str, str] = {name: why for why, names in _REASONS.items() for name in names.split()}
