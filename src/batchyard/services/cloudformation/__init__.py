"""CloudFormation: stacks from templates, real where a type means something here."""
