"""The operations of IAM that are not served, and why."""

from __future__ import annotations

_REASONS: dict[str, str] = {
    "access is not delegated by requests: give roles and policies": """
        AcceptDelegationRequest AcquireRole AssociateDelegationRequest CreateDelegationRequest GetDelegationRequest
        GetHumanReadableSummary GetRoleTemplateVersion ListDelegationRequests RejectDelegationRequest SendDelegationToken
        UpdateDelegationRequest
    """,
    "there is no identity federation": """
        AddClientIDToOpenIDConnectProvider CreateOpenIDConnectProvider CreateSAMLProvider DeleteOpenIDConnectProvider DeleteSAMLProvider
        DisableOutboundWebIdentityFederation EnableOutboundWebIdentityFederation GetOpenIDConnectProvider
        GetOutboundWebIdentityFederationInfo GetSAMLProvider ListOpenIDConnectProviderTags ListOpenIDConnectProviders ListSAMLProviderTags
        ListSAMLProviders RemoveClientIDFromOpenIDConnectProvider TagOpenIDConnectProvider TagSAMLProvider UntagOpenIDConnectProvider
        UntagSAMLProvider UpdateOpenIDConnectProviderThumbprint UpdateSAMLProvider
    """,
    "there is no console to log in to: users have access keys": """
        ChangePassword CreateLoginProfile DeleteAccountPasswordPolicy DeleteLoginProfile GetAccountPasswordPolicy GetLoginProfile
        UpdateAccountPasswordPolicy UpdateLoginProfile
    """,
    "users have access keys, and no other credentials": """
        CreateServiceSpecificCredential DeleteSSHPublicKey DeleteServerCertificate DeleteServiceSpecificCredential
        DeleteSigningCertificate GetSSHPublicKey GetServerCertificate ListSSHPublicKeys ListServerCertificateTags ListServerCertificates
        ListServiceSpecificCredentials ListSigningCertificates ResetServiceSpecificCredential TagServerCertificate UntagServerCertificate
        UpdateSSHPublicKey UpdateServerCertificate UpdateServiceSpecificCredential UpdateSigningCertificate UploadSSHPublicKey
        UploadServerCertificate UploadSigningCertificate
    """,
    "there are no MFA devices": """
        CreateVirtualMFADevice DeactivateMFADevice DeleteVirtualMFADevice EnableMFADevice GetMFADevice ListMFADeviceTags ListMFADevices
        ListVirtualMFADevices ResyncMFADevice TagMFADevice UntagMFADevice
    """,
    "there is no organization of accounts": """
        DisableOrganizationsRootCredentialsManagement DisableOrganizationsRootSessions EnableOrganizationsRootCredentialsManagement
        EnableOrganizationsRootSessions GenerateOrganizationsAccessReport GetOrganizationsAccessReport ListOrganizationsFeatures
    """,
    "reports over the whole account are not there: list its roles, users and policies": """
        GenerateCredentialReport GenerateServiceLastAccessedDetails GetAccountAuthorizationDetails GetContextKeysForCustomPolicy
        GetContextKeysForPrincipalPolicy GetCredentialReport GetServiceLastAccessedDetails GetServiceLastAccessedDetailsWithEntities
        ListPoliciesGrantingServiceAccess
    """,
    "the account has no such settings": """
        GetAccountProperties PutAccountProperties SetSecurityTokenServicePreferences
    """,
}

NOT_YET: dict[str, str] = {name: why for why, names in _REASONS.items() for name in names.split()}
