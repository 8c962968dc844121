"""What a job can ask of its host over HTTP: ECS's metadata about itself, its role's credentials, EC2's metadata about the machine.

The node answers (it outlives the server) on one port of 127.0.0.1, under a path that only the job's environment tells. Nothing is
imported here: the modules that make answers are loaded with the first question.
"""
