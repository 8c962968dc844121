"""The operations of EC2 that are not served, and why."""

from __future__ import annotations

_REASONS: dict[str, str] = {
    "addresses are given out from one pool": """
        AcceptAddressTransfer AdvertiseByoipCidr AllocateIpamPoolCidr AssociateIpamByoasn AssociateIpamResourceDiscovery
        BatchModifyIpamRoutingPolicyRegistrations CreateCoipCidr CreateCoipPool CreateIpam CreateIpamExternalResourceVerificationToken
        CreateIpamInternetRegistryAssociation CreateIpamPolicy CreateIpamPool CreateIpamPrefixListResolver
        CreateIpamPrefixListResolverTarget CreateIpamResourceDiscovery CreateIpamRoutingPolicyRegistration CreateIpamScope
        CreatePublicIpv4Pool DeleteCoipCidr DeleteCoipPool DeleteIpam DeleteIpamExternalResourceVerificationToken
        DeleteIpamInternetRegistryAssociation DeleteIpamPolicy DeleteIpamPool DeleteIpamPrefixListResolver
        DeleteIpamPrefixListResolverTarget DeleteIpamResourceDiscovery DeleteIpamRoutingPolicyRegistration DeleteIpamScope
        DeletePublicIpv4Pool DeprovisionByoipCidr DeprovisionIpamByoasn DeprovisionIpamPoolCidr DeprovisionPublicIpv4PoolCidr
        DescribeAddressTransfers DescribeAddressesAttribute DescribeByoipCidrs DescribeCoipPools DescribeIpamByoasn
        DescribeIpamExternalResourceVerificationTokens DescribeIpamInternetRegistryAssociations DescribeIpamPolicies
        DescribeIpamPoolAllocations DescribeIpamPools DescribeIpamPrefixListResolverTargets DescribeIpamPrefixListResolvers
        DescribeIpamResourceDiscoveries DescribeIpamResourceDiscoveryAssociations DescribeIpamScopes DescribeIpams DescribeIpv6Pools
        DescribePublicIpv4Pools DisableAddressTransfer DisableIpamOrganizationAdminAccount DisableIpamPolicy DisassociateIpamByoasn
        DisassociateIpamResourceDiscovery EnableAddressTransfer EnableIpamInternetRegistryAssociation EnableIpamOrganizationAdminAccount
        EnableIpamPolicy GetAssociatedIpv6PoolCidrs GetCoipPoolUsage GetEnabledIpamPolicy GetIpamAddressHistory GetIpamDiscoveredAccounts
        GetIpamDiscoveredPublicAddresses GetIpamDiscoveredResourceCidrs GetIpamDiscoveredRoutes GetIpamInternetRegistryAssociationAsns
        GetIpamInternetRegistryAssociationCidrs GetIpamPolicyAllocationRules GetIpamPolicyOrganizationTargets GetIpamPoolAllocations
        GetIpamPoolCidrs GetIpamPrefixListResolverRules GetIpamPrefixListResolverVersionEntries GetIpamPrefixListResolverVersions
        GetIpamResourceCidrs GetIpamRouteOriginAuthorizations GetIpamRouteProtectionFindings GetIpamRoutingPolicyRegistrationDeltas
        GetIpamRoutingPolicyRegistrations ModifyAddressAttribute ModifyIpam ModifyIpamPolicyAllocationRules ModifyIpamPool
        ModifyIpamPoolAllocation ModifyIpamPrefixListResolver ModifyIpamPrefixListResolverTarget ModifyIpamResourceCidr
        ModifyIpamResourceDiscovery ModifyIpamRoutingPolicyRegistration ModifyIpamScope MoveAddressToVpc MoveByoipCidrToIpam
        ProvisionByoipCidr ProvisionIpamByoasn ProvisionIpamPoolCidr ProvisionPublicIpv4PoolCidr ReleaseIpamPoolAllocation
        ResetAddressAttribute RestoreAddressToClassic WithdrawByoipCidr
    """,
    "capacity is not reserved: min vCPUs of a compute environment keep it running": """
        AcceptCapacityReservationBillingOwnership AcceptReservedInstancesExchangeQuote AllocateHosts
        AssociateCapacityReservationBillingOwner CancelCapacityReservation CancelReservedInstancesListing CreateCapacityManagerDataExport
        CreateCapacityReservation CreateCapacityReservationBySplitting CreateCapacityReservationCancellationQuote
        CreateCapacityReservationDateChangeQuote CreateInterruptibleCapacityReservationAllocation CreateReservedInstancesListing
        DeleteCapacityManagerDataExport DeleteQueuedReservedInstances DescribeCapacityBlockExtensionHistory
        DescribeCapacityBlockExtensionOfferings DescribeCapacityBlockOfferings DescribeCapacityBlockStatus DescribeCapacityBlocks
        DescribeCapacityManagerDataExports DescribeCapacityReservationBillingRequests DescribeCapacityReservationCancellationQuotes
        DescribeCapacityReservationDateChangeQuotes DescribeCapacityReservationTopology DescribeCapacityReservations
        DescribeHostReservationOfferings DescribeHostReservations DescribeHosts DescribeReservedInstances
        DescribeReservedInstancesListings DescribeReservedInstancesModifications DescribeReservedInstancesOfferings DisableCapacityManager
        DisassociateCapacityReservationBillingOwner EnableCapacityManager GetCapacityManagerAttributes GetCapacityManagerMetricData
        GetCapacityManagerMetricDimensions GetCapacityManagerMonitoredTagKeys GetCapacityManagerSupportabilityScores
        GetCapacityReservationUsage GetGroupsForCapacityReservation GetHostReservationPurchasePreview GetReservedInstancesExchangeQuote
        ModifyCapacityReservation ModifyHosts ModifyInstanceCapacityReservationAttributes ModifyReservedInstances
        MoveCapacityReservationInstances PurchaseCapacityBlock PurchaseCapacityBlockExtension PurchaseHostReservation
        PurchaseReservedInstancesOffering RejectCapacityReservationBillingOwnership ReleaseHosts UpdateCapacityManagerMonitoredTagKeys
        UpdateCapacityManagerOrganizationsAccess UpdateInterruptibleCapacityReservationAllocation
    """,
    "there are no transit gateways": """
        AcceptTransitGatewayClientVpnAttachment AcceptTransitGatewayMulticastDomainAssociations AcceptTransitGatewayPeeringAttachment
        AcceptTransitGatewayVpcAttachment AssociateTransitGatewayMulticastDomain AssociateTransitGatewayPolicyTable
        AssociateTransitGatewayRouteTable CreateTransitGateway CreateTransitGatewayConnect CreateTransitGatewayConnectPeer
        CreateTransitGatewayMeteringPolicy CreateTransitGatewayMeteringPolicyEntry CreateTransitGatewayMulticastDomain
        CreateTransitGatewayNetworkFunctionAttachment CreateTransitGatewayPeeringAttachment CreateTransitGatewayPolicyTable
        CreateTransitGatewayPolicyTableEntry CreateTransitGatewayPrefixListReference CreateTransitGatewayRoute
        CreateTransitGatewayRouteTable CreateTransitGatewayRouteTableAnnouncement CreateTransitGatewayVpcAttachment DeleteTransitGateway
        DeleteTransitGatewayClientVpnAttachment DeleteTransitGatewayConnect DeleteTransitGatewayConnectPeer
        DeleteTransitGatewayMeteringPolicy DeleteTransitGatewayMeteringPolicyEntry DeleteTransitGatewayMulticastDomain
        DeleteTransitGatewayNetworkFunctionAttachment DeleteTransitGatewayPeeringAttachment DeleteTransitGatewayPolicyTable
        DeleteTransitGatewayPolicyTableEntry DeleteTransitGatewayPrefixListReference DeleteTransitGatewayRoute
        DeleteTransitGatewayRouteTable DeleteTransitGatewayRouteTableAnnouncement DeleteTransitGatewayVpcAttachment
        DeregisterTransitGatewayMulticastGroupMembers DeregisterTransitGatewayMulticastGroupSources DescribeTransitGatewayAttachments
        DescribeTransitGatewayConnectPeers DescribeTransitGatewayConnects DescribeTransitGatewayMeteringPolicies
        DescribeTransitGatewayMulticastDomains DescribeTransitGatewayNetworkFunctionAttachments DescribeTransitGatewayPeeringAttachments
        DescribeTransitGatewayPolicyTables DescribeTransitGatewayRouteTableAnnouncements DescribeTransitGatewayRouteTables
        DescribeTransitGatewayVpcAttachments DescribeTransitGateways DisableTransitGatewayRouteTablePropagation
        DisassociateTransitGatewayMulticastDomain DisassociateTransitGatewayPolicyTable DisassociateTransitGatewayRouteTable
        EnableTransitGatewayRouteTablePropagation ExportTransitGatewayRoutes GetTransitGatewayAttachmentNatConfiguration
        GetTransitGatewayAttachmentPropagations GetTransitGatewayMeteringPolicyEntries GetTransitGatewayMulticastDomainAssociations
        GetTransitGatewayPolicyTableAssociations GetTransitGatewayPolicyTableEntries GetTransitGatewayPrefixListReferences
        GetTransitGatewayRouteTableAssociations GetTransitGatewayRouteTablePropagations ModifyTransitGateway
        ModifyTransitGatewayAttachmentNatConfiguration ModifyTransitGatewayMeteringPolicy ModifyTransitGatewayNetworkFunctionAttachment
        ModifyTransitGatewayPeeringAttachment ModifyTransitGatewayPolicyTableEntry ModifyTransitGatewayPrefixListReference
        ModifyTransitGatewayVpcAttachment RegisterTransitGatewayMulticastGroupMembers RegisterTransitGatewayMulticastGroupSources
        RejectTransitGatewayClientVpnAttachment RejectTransitGatewayMulticastDomainAssociations RejectTransitGatewayPeeringAttachment
        RejectTransitGatewayVpcAttachment ReplaceTransitGatewayRoute SearchTransitGatewayMulticastGroups SearchTransitGatewayRoutes
    """,
    "there are no endpoint services of the account itself": """
        AcceptVpcEndpointConnections CreateVpcEndpointConnectionNotification CreateVpcEndpointServiceConfiguration
        DeleteVpcEndpointConnectionNotifications DeleteVpcEndpointServiceConfigurations DescribeVpcEndpointAssociations
        DescribeVpcEndpointConnectionNotifications DescribeVpcEndpointConnections DescribeVpcEndpointServiceConfigurations
        DescribeVpcEndpointServicePermissions DescribeVpcEndpointServices ModifyVpcEndpointConnectionNotification
        ModifyVpcEndpointServiceConfiguration ModifyVpcEndpointServicePayerResponsibility ModifyVpcEndpointServicePermissions
        RejectVpcEndpointConnections StartVpcEndpointServicePrivateDnsVerification
    """,
    "VPCs are not peered": """
        AcceptVpcPeeringConnection CreateVpcPeeringConnection DeleteVpcPeeringConnection DescribeVpcPeeringConnections
        ModifyVpcPeeringConnectionOptions RejectVpcPeeringConnection
    """,
    "there are no VPN connections": """
        ApplySecurityGroupsToClientVpnTargetNetwork AssociateClientVpnTargetNetwork AttachVpnGateway AuthorizeClientVpnIngress
        CreateClientVpnEndpoint CreateClientVpnRoute CreateCustomerGateway CreateVpnConcentrator CreateVpnConnection
        CreateVpnConnectionRoute CreateVpnGateway DeleteClientVpnEndpoint DeleteClientVpnEndpointAuthorizationPolicy DeleteClientVpnRoute
        DeleteCustomerGateway DeleteVpnConcentrator DeleteVpnConnection DeleteVpnConnectionRoute DeleteVpnGateway
        DescribeClientVpnAuthorizationRules DescribeClientVpnConnections DescribeClientVpnEndpoints DescribeClientVpnRoutes
        DescribeClientVpnTargetNetworks DescribeCustomerGateways DescribeVpnConcentrators DescribeVpnConnections DescribeVpnGateways
        DetachVpnGateway DisassociateClientVpnTargetNetwork ExportClientVpnClientCertificateRevocationList
        ExportClientVpnClientConfiguration GetActiveVpnTunnelStatus GetClientVpnEndpointAuthorizationPolicy
        GetVpnConnectionDeviceSampleConfiguration GetVpnConnectionDeviceTypes GetVpnTunnelReplacementStatus
        ImportClientVpnClientCertificateRevocationList ModifyClientVpnEndpoint ModifyClientVpnEndpointAuthorizationPolicy
        ModifyVpnConnection ModifyVpnConnectionOptions ModifyVpnTunnelCertificate ModifyVpnTunnelOptions ReplaceVpnTunnel
        RevokeClientVpnIngress TerminateClientVpnConnections
    """,
    "VPCs have one IPv4 block and no IPv6": """
        AssignIpv6Addresses AssociateSubnetCidrBlock AssociateVpcCidrBlock CreateEgressOnlyInternetGateway CreateSubnetCidrReservation
        DeleteEgressOnlyInternetGateway DeleteSubnetCidrReservation DescribeEgressOnlyInternetGateways DisassociateSubnetCidrBlock
        DisassociateVpcCidrBlock GetSubnetCidrReservations UnassignIpv6Addresses
    """,
    "there are no network interfaces of the account itself": """
        AssignPrivateIpAddresses AssignPrivateNatGatewayAddress AssociateAddress AssociateNatGatewayAddress AttachNetworkInterface
        CreateNetworkInterface CreateNetworkInterfacePermission DeleteNetworkInterface DeleteNetworkInterfacePermission
        DescribeNetworkInterfaceAttribute DescribeNetworkInterfacePermissions DetachNetworkInterface DisassociateAddress
        DisassociateNatGatewayAddress ModifyNetworkInterfaceAttribute ResetNetworkInterfaceAttribute UnassignPrivateIpAddresses
        UnassignPrivateNatGatewayAddress
    """,
    "it has no meaning for slices of this machine, and no client of AWS Batch calls it": """
        AssociateApplicationStatusCheck AssociateKmsKeyId AssociateNetworkingFlexCostAllocationPolicy AssociateTrunkInterface
        CancelImportTask CreateApplicationStatusCheck CreateMetricCategory CreateNetworkingFlexCostAllocationPolicy CreateSecondaryNetwork
        CreateSecondarySubnet DeleteApplicationStatusCheck DeleteMetricCategory DeleteNetworkingFlexCostAllocationPolicies
        DeleteSecondaryNetwork DeleteSecondarySubnet DescribeAggregateIdFormat DescribeApplicationStatus
        DescribeApplicationStatusCheckAssociations DescribeApplicationStatusChecks DescribeElasticGpus DescribeIdFormat
        DescribeIdentityIdFormat DescribeMetricCategories DescribeMovingAddresses DescribeNetworkingFlexCostAllocationPolicies
        DescribeNetworkingFlexCostAllocationPolicyAssociations DescribePrincipalIdFormat DescribeSecondaryInterfaces
        DescribeSecondaryNetworks DescribeSecondarySubnets DescribeServiceLinkVirtualInterfaces DescribeTrunkInterfaceAssociations
        DisableApplicationStatusCheckSuppression DisableEbsEncryptionByDefault DisassociateApplicationStatusCheck DisassociateKmsKeyId
        DisassociateNetworkingFlexCostAllocationPolicy DisassociateTrunkInterface EnableApplicationStatusCheckSuppression
        EnableEbsEncryptionByDefault EnableReachabilityAnalyzerOrganizationSharing GetDefaultCreditSpecification GetEbsDefaultKmsKeyId
        GetEbsEncryptionByDefault GetLaunchTemplateData GetManagedResourceVisibility GetNetworkingFlexCostAllocationPolicyVersions
        GetVpcResourcesBlockingEncryptionEnforcement ModifyApplicationStatusCheck ModifyAvailabilityZoneGroup
        ModifyDefaultCreditSpecification ModifyEbsDefaultKmsKeyId ModifyIdFormat ModifyIdentityIdFormat ModifyManagedResourceVisibility
        ModifyMetricCategory ModifyNetworkingFlexCostAllocationPolicy ModifyPrivateDnsNameOptions ModifyPublicIpDnsNameOptions
        ModifyVpcEndpointPayerResponsibility ResetEbsDefaultKmsKeyId UnmonitorInstances
        ValidateSecurityGroupQuotasForInterface
    """,
    "slices of this machine have nothing of the kind": """
        AssociateEnclaveCertificateIamRole AssociateIamInstanceProfile AssociateInstanceEventWindow BundleInstance CancelBundleTask
        CancelConversionTask CancelExportTask ConfirmProductInstance CreateInstanceConnectEndpoint CreateInstanceEventWindow
        CreateInstanceExportTask DeleteInstanceConnectEndpoint DeleteInstanceEventWindow DeregisterInstanceEventNotificationAttributes
        DescribeBundleTasks DescribeConversionTasks DescribeExportTasks DescribeIamInstanceProfileAssociations
        DescribeInstanceConnectEndpoints DescribeInstanceCreditSpecifications DescribeInstanceEventNotificationAttributes
        DescribeInstanceEventWindows DescribeInstanceSqlHaHistoryStates DescribeInstanceSqlHaStates DescribeInstanceTopology
        DisableInstanceSqlHaStandbyDetections DisableSerialConsoleAccess DisassociateEnclaveCertificateIamRole
        DisassociateIamInstanceProfile DisassociateInstanceEventWindow EnableInstanceSqlHaStandbyDetections EnableSerialConsoleAccess
        GetAssociatedEnclaveCertificateIamRoles GetConsoleOutput GetConsoleScreenshot GetInstanceMetadataDefaults GetInstanceTpmEkPub
        GetInstanceTypesFromInstanceRequirements GetInstanceUefiData GetPasswordData GetSerialConsoleAccessStatus ImportInstance
        ModifyInstanceConnectEndpoint ModifyInstanceCpuOptions ModifyInstanceCreditSpecification ModifyInstanceEventStartTime
        ModifyInstanceEventWindow ModifyInstanceMaintenanceOptions ModifyInstanceMetadataDefaults ModifyInstanceMetadataOptions
        ModifyInstancePlacement RegisterInstanceEventNotificationAttributes ReplaceIamInstanceProfileAssociation ReportInstanceStatus
        SendDiagnosticInterrupt
    """,
    "routes are static": """
        AssociateRouteServer CreateRouteServer CreateRouteServerEndpoint CreateRouteServerPeer DeleteRouteServer DeleteRouteServerEndpoint
        DeleteRouteServerPeer DescribeRouteServerEndpoints DescribeRouteServerPeers DescribeRouteServers DisableRouteServerPropagation
        DisableVgwRoutePropagation DisassociateRouteServer EnableRouteServerPropagation EnableVgwRoutePropagation
        GetRouteServerAssociations GetRouteServerPropagations GetRouteServerRoutingDatabase ModifyRouteServer
    """,
    "the network has no such settings": """
        AssociateSecurityGroupVpc CreateDefaultSubnet CreateDefaultVpc CreateVpcBlockPublicAccessExclusion CreateVpcEncryptionControl
        DeleteVpcBlockPublicAccessExclusion DeleteVpcEncryptionControl DescribeAccountVpcEncryptionControl DescribeSecurityGroupReferences
        DescribeSecurityGroupVpcAssociations DescribeStaleSecurityGroups DescribeVpcBlockPublicAccessExclusions
        DescribeVpcBlockPublicAccessOptions DescribeVpcEncryptionControls DisassociateSecurityGroupVpc GetSecurityGroupsForVpc
        ModifyAccountVpcEncryptionControl ModifySecurityGroupRules ModifyVpcBlockPublicAccessExclusion ModifyVpcBlockPublicAccessOptions
        ModifyVpcEncryptionControl
    """,
    "EC2-Classic is gone": """
        AttachClassicLinkVpc DescribeClassicLinkInstances DescribeVpcClassicLink DescribeVpcClassicLinkDnsSupport DetachClassicLinkVpc
        DisableVpcClassicLink DisableVpcClassicLinkDnsSupport EnableVpcClassicLink EnableVpcClassicLinkDnsSupport
    """,
    "there are no volumes and no images but those that AWS publishes": """
        AttachImageWatermark AttachVolume CancelImageLaunchPermission CopyFpgaImage CopyImage CopySnapshot CopyVolumes
        CreateDelegateMacVolumeOwnershipTask CreateFpgaImage CreateImage CreateImageUsageReport
        CreateMacSystemIntegrityProtectionModificationTask CreateReplaceRootVolumeTask CreateRestoreImageTask CreateSnapshot
        CreateSnapshots CreateStoreImageTask CreateVolume DeleteFpgaImage DeleteImageUsageReport DeleteSnapshot DeleteVolume
        DeregisterImage DescribeExportImageTasks DescribeFastLaunchImages DescribeFastSnapshotRestores DescribeFpgaImageAttribute
        DescribeFpgaImages DescribeImageAttribute DescribeImageReferences DescribeImageUsageReportEntries DescribeImageUsageReports
        DescribeImportImageTasks DescribeImportSnapshotTasks DescribeInstanceImageMetadata DescribeLockedSnapshots DescribeMacHosts
        DescribeMacModificationTasks DescribeReplaceRootVolumeTasks DescribeSnapshotAttribute DescribeSnapshotTierStatus DescribeSnapshots
        DescribeStoreImageTasks DescribeVolumeAttribute DescribeVolumeStatus DescribeVolumes DescribeVolumesModifications
        DetachImageWatermark DetachVolume DisableAllowedImagesSettings DisableFastLaunch DisableFastSnapshotRestores DisableImage
        DisableImageBlockPublicAccess DisableImageDeprecation DisableImageDeregistrationProtection DisableSnapshotBlockPublicAccess
        EnableAllowedImagesSettings EnableFastLaunch EnableFastSnapshotRestores EnableImage EnableImageBlockPublicAccess
        EnableImageDeprecation EnableImageDeregistrationProtection EnableSnapshotBlockPublicAccess EnableVolumeIO ExportImage
        GetAllowedImagesSettings GetImageAncestry GetImageBlockPublicAccessState GetImageFindings GetSnapshotBlockPublicAccessState
        ImportImage ImportSnapshot ImportVolume ListImagesInRecycleBin ListSnapshotsInRecycleBin ListVolumesInRecycleBin LockSnapshot
        ModifyFpgaImageAttribute ModifyImageAttribute ModifySnapshotAttribute ModifySnapshotTier ModifyVolume ModifyVolumeAttribute
        RegisterImage ReplaceImageCriteriaInAllowedImagesSettings ReplaceImageInstanceTypeSpecification ResetFpgaImageAttribute
        ResetImageAttribute ResetSnapshotAttribute RestoreImageFromRecycleBin RestoreSnapshotFromRecycleBin RestoreSnapshotTier
        RestoreVolumeFromRecycleBin UnlockSnapshot
    """,
    "there is no Verified Access": """
        AttachVerifiedAccessTrustProvider CreateVerifiedAccessEndpoint CreateVerifiedAccessGroup CreateVerifiedAccessInstance
        CreateVerifiedAccessTrustProvider DeleteVerifiedAccessEndpoint DeleteVerifiedAccessGroup DeleteVerifiedAccessInstance
        DeleteVerifiedAccessTrustProvider DescribeVerifiedAccessEndpoints DescribeVerifiedAccessGroups
        DescribeVerifiedAccessInstanceLoggingConfigurations DescribeVerifiedAccessInstances DescribeVerifiedAccessTrustProviders
        DetachVerifiedAccessTrustProvider ExportVerifiedAccessInstanceClientConfiguration GetVerifiedAccessEndpointPolicy
        GetVerifiedAccessEndpointTargets GetVerifiedAccessGroupPolicy ModifyVerifiedAccessEndpoint ModifyVerifiedAccessEndpointPolicy
        ModifyVerifiedAccessGroup ModifyVerifiedAccessGroupPolicy ModifyVerifiedAccessInstance
        ModifyVerifiedAccessInstanceLoggingConfiguration ModifyVerifiedAccessTrustProvider
    """,
    "Spot and on-demand instances come from compute environments": """
        CancelCapacityReservationFleets CancelSpotFleetRequests CancelSpotInstanceRequests CreateCapacityReservationFleet CreateFleet
        CreateSpotDatafeedSubscription DeleteFleets DeleteSpotDatafeedSubscription DescribeCapacityReservationFleets DescribeFleetHistory
        DescribeFleetInstances DescribeFleets DescribeScheduledInstanceAvailability DescribeScheduledInstances
        DescribeSpotDatafeedSubscription DescribeSpotFleetInstances DescribeSpotFleetRequestHistory DescribeSpotFleetRequests
        DescribeSpotInstanceRequests GetSpotPlacementScores ModifyCapacityReservationFleet ModifyFleet ModifySpotFleetRequest
        PurchaseScheduledInstances RequestSpotFleet RequestSpotInstances
    """,
    "the network is a record: nothing flows through it that could be looked at": """
        CancelDeclarativePoliciesReport CreateFlowLogs CreateNetworkInsightsAccessScope CreateNetworkInsightsPath DeleteFlowLogs
        DeleteNetworkInsightsAccessScope DeleteNetworkInsightsAccessScopeAnalysis DeleteNetworkInsightsAnalysis DeleteNetworkInsightsPath
        DescribeAwsNetworkPerformanceMetricSubscriptions DescribeDeclarativePoliciesReports DescribeFlowLogs
        DescribeNetworkInsightsAccessScopeAnalyses DescribeNetworkInsightsAccessScopes DescribeNetworkInsightsAnalyses
        DescribeNetworkInsightsPaths DisableAwsNetworkPerformanceMetricSubscription EnableAwsNetworkPerformanceMetricSubscription
        GetAwsNetworkPerformanceData GetDeclarativePoliciesReportSummary GetFlowLogsIntegrationTemplate
        GetNetworkInsightsAccessScopeAnalysisFindings GetNetworkInsightsAccessScopeContent ModifyInstanceNetworkPerformanceOptions
        StartDeclarativePoliciesReport StartNetworkInsightsAccessScopeAnalysis StartNetworkInsightsAnalysis
    """,
    "there are no Outposts or Wavelength zones": """
        CreateCarrierGateway CreateLocalGatewayRoute CreateLocalGatewayRouteTable
        CreateLocalGatewayRouteTableVirtualInterfaceGroupAssociation CreateLocalGatewayRouteTableVpcAssociation
        CreateLocalGatewayVirtualInterface CreateLocalGatewayVirtualInterfaceGroup DeleteCarrierGateway DeleteLocalGatewayRoute
        DeleteLocalGatewayRouteTable DeleteLocalGatewayRouteTableVirtualInterfaceGroupAssociation
        DeleteLocalGatewayRouteTableVpcAssociation DeleteLocalGatewayVirtualInterface DeleteLocalGatewayVirtualInterfaceGroup
        DescribeCarrierGateways DescribeLocalGatewayRouteTableVirtualInterfaceGroupAssociations
        DescribeLocalGatewayRouteTableVpcAssociations DescribeLocalGatewayRouteTables DescribeLocalGatewayVirtualInterfaceGroups
        DescribeLocalGatewayVirtualInterfaces DescribeLocalGateways DescribeOutpostLags ModifyLocalGatewayRoute SearchLocalGatewayRoutes
    """,
    "keys are made elsewhere and imported with ImportKeyPair": """
        CreateKeyPair
    """,
    "there are no prefix lists": """
        CreateManagedPrefixList DeleteManagedPrefixList DescribeManagedPrefixLists DescribePrefixLists GetManagedPrefixListAssociations
        GetManagedPrefixListEntries ModifyManagedPrefixList RestoreManagedPrefixListVersion
    """,
    "traffic is not mirrored": """
        CreateTrafficMirrorFilter CreateTrafficMirrorFilterRule CreateTrafficMirrorSession CreateTrafficMirrorTarget
        DeleteTrafficMirrorFilter DeleteTrafficMirrorFilterRule DeleteTrafficMirrorSession DeleteTrafficMirrorTarget
        DescribeTrafficMirrorFilterRules DescribeTrafficMirrorFilters DescribeTrafficMirrorSessions DescribeTrafficMirrorTargets
        ModifyTrafficMirrorFilterNetworkServices ModifyTrafficMirrorFilterRule ModifyTrafficMirrorSession
    """,
    "instances come and go with compute environments: create one with AWS Batch": """
        DescribeInstanceAttribute ModifyInstanceAttribute MonitorInstances RebootInstances ResetInstanceAttribute RunInstances
        RunScheduledInstances StartInstances StopInstances
    """,
}

NOT_YET: dict[str, str] = {name: why for why, names in _REASONS.items() for name in names.split()}
