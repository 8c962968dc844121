"""What the commands about stacks do: the same calls to a service here and to CloudFormation in AWS."""
