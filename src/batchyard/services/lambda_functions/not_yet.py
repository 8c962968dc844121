"""What of AWS Lambda's model is not there, and why."""

from __future__ import annotations

_VERSIONS = "functions have one version, $LATEST"
_LAYERS = "there are no layers"
_URLS = "functions have no URLs"
_SOURCES = "there are no queues or streams that functions could read"
_SIGNING = "there is no code signing"
_CONCURRENCY = "no capacity is reserved for functions"
_DURABLE = "there are no durable executions"
_PROVIDERS = "there are no capacity providers"
_POLICIES = "policies of functions are changed by statements (AddPermission)"
_SETTINGS = "this setting of functions is not there"

NOT_YET: dict[str, str] = {
    **dict.fromkeys(("CreateAlias", "DeleteAlias", "GetAlias", "ListAliases", "PublishVersion", "UpdateAlias"), _VERSIONS),
    **dict.fromkeys(
        (
            "AddLayerVersionPermission",
            "DeleteLayerVersion",
            "GetLayerVersion",
            "GetLayerVersionByArn",
            "GetLayerVersionPolicy",
            "ListLayerVersions",
            "ListLayers",
            "PublishLayerVersion",
            "RemoveLayerVersionPermission",
        ),
        _LAYERS,
    ),
    **dict.fromkeys(
        ("CreateFunctionUrlConfig", "DeleteFunctionUrlConfig", "GetFunctionUrlConfig", "ListFunctionUrlConfigs", "UpdateFunctionUrlConfig"),
        _URLS,
    ),
    **dict.fromkeys(
        (
            "CreateEventSourceMapping",
            "DeleteEventSourceMapping",
            "GetEventSourceMapping",
            "ListEventSourceMappings",
            "UpdateEventSourceMapping",
        ),
        _SOURCES,
    ),
    **dict.fromkeys(
        (
            "CreateCodeSigningConfig",
            "DeleteCodeSigningConfig",
            "DeleteFunctionCodeSigningConfig",
            "GetCodeSigningConfig",
            "ListCodeSigningConfigs",
            "ListFunctionsByCodeSigningConfig",
            "PutFunctionCodeSigningConfig",
            "UpdateCodeSigningConfig",
        ),
        _SIGNING,
    ),
    **dict.fromkeys(
        (
            "DeleteFunctionConcurrency",
            "DeleteProvisionedConcurrencyConfig",
            "GetAccountSettings",
            "GetFunctionConcurrency",
            "GetFunctionScalingConfig",
            "GetProvisionedConcurrencyConfig",
            "ListProvisionedConcurrencyConfigs",
            "PutFunctionConcurrency",
            "PutFunctionScalingConfig",
            "PutProvisionedConcurrencyConfig",
        ),
        _CONCURRENCY,
    ),
    **dict.fromkeys(
        (
            "CheckpointDurableExecution",
            "DeleteDurableExecution",
            "GetDurableExecution",
            "GetDurableExecutionHistory",
            "GetDurableExecutionState",
            "ListDurableExecutionsByFunction",
            "PauseDurableExecution",
            "ResumeDurableExecution",
            "SendDurableExecutionCallbackFailure",
            "SendDurableExecutionCallbackHeartbeat",
            "SendDurableExecutionCallbackSuccess",
            "StopDurableExecution",
        ),
        _DURABLE,
    ),
    **dict.fromkeys(
        (
            "CreateCapacityProvider",
            "DeleteCapacityProvider",
            "GetCapacityProvider",
            "ListCapacityProviders",
            "ListFunctionVersionsByCapacityProvider",
            "UpdateCapacityProvider",
        ),
        _PROVIDERS,
    ),
    **dict.fromkeys(("DeleteResourcePolicy", "GetResourcePolicy", "PutResourcePolicy"), _POLICIES),
    **dict.fromkeys(
        (
            "DeleteFunctionEventInvokeConfig",
            "GetFunctionEventInvokeConfig",
            "GetFunctionRecursionConfig",
            "GetRuntimeManagementConfig",
            "ListFunctionEventInvokeConfigs",
            "PutFunctionEventInvokeConfig",
            "PutFunctionRecursionConfig",
            "PutRuntimeManagementConfig",
            "UpdateFunctionEventInvokeConfig",
        ),
        _SETTINGS,
    ),
    "InvokeAsync": "it is the deprecated form of Invoke with InvocationType Event",
    "InvokeWithResponseStream": "responses of functions are not streamed",
}
