"""The handlers of CloudFormation's API."""
