// A queue with its environments and its network, from CDK's own (L2) constructs. Context: reads, path, vcpus; bootstrapped.
import {
  App, Aws, CfnOutput, DefaultStackSynthesizer, Duration, LegacyStackSynthesizer, RemovalPolicy, Size, Stack,
} from 'aws-cdk-lib';
import * as batch from 'aws-cdk-lib/aws-batch';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as ecs from 'aws-cdk-lib/aws-ecs';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as logs from 'aws-cdk-lib/aws-logs';
import { Asset } from 'aws-cdk-lib/aws-s3-assets';

class Group extends Stack {
  constructor(scope, id, { reads, path, maxvCpus, script, ...props }) {
    super(scope, id, props);
    const vpc = new ec2.Vpc(this, 'Network', { maxAzs: 2, natGateways: 1 });
    const launchTemplate = new ec2.LaunchTemplate(this, 'Instances', {
      blockDevices: [{ deviceName: '/dev/xvda', volume: ec2.BlockDeviceVolume.ebs(100, { volumeType: ec2.EbsDeviceVolumeType.GP3 }) }],
    });
    const spot = new batch.ManagedEc2EcsComputeEnvironment(this, 'Spot', { vpc, launchTemplate, maxvCpus, spot: true, spotBidPercentage: 80 });
    const onDemand = new batch.ManagedEc2EcsComputeEnvironment(this, 'OnDemand', { vpc, launchTemplate, maxvCpus });

    const queue = new batch.JobQueue(this, 'Queue', {
      priority: 10,
      computeEnvironments: [{ computeEnvironment: spot, order: 1 }, { computeEnvironment: onDemand, order: 2 }],
      schedulingPolicy: new batch.FairshareSchedulingPolicy(this, 'Shares', {
        shareDecay: Duration.hours(1),
        shares: [{ shareIdentifier: 'clinic*', weightFactor: 0.5 }, { shareIdentifier: 'research', weightFactor: 1 }],
      }),
    });

    const jobRole = new iam.Role(this, 'Job', { assumedBy: new iam.ServicePrincipal('ecs-tasks.amazonaws.com') });
    jobRole.addToPolicy(new iam.PolicyStatement({ actions: ['s3:GetObject', 's3:ListBucket'], resources: [`arn:${Aws.PARTITION}:s3:::*`] }));
    const count = "aws s3 cp --quiet \"$1\" - | gzip -cd | awk 'END { print NR / 4, \"reads\" }'";
    const asset = script && new Asset(this, 'Script', { path: script });
    const definition = new batch.EcsJobDefinition(this, 'Count', {
      retryAttempts: 3,
      schedulingPriority: 1,
      timeout: Duration.minutes(10),
      container: new batch.EcsEc2ContainerDefinition(this, 'Container', {
        image: ecs.ContainerImage.fromRegistry('genomics-tools'),
        cpu: 1,
        memory: Size.mebibytes(256),
        environment: { PATH: path },
        command: asset
          ? ['bash', '-c', 'bash <(aws s3 cp --quiet "$0" -) "$1"', asset.s3ObjectUrl, reads]
          : ['bash', '-c', count, 'count', reads],
        jobRole,
        logging: ecs.LogDriver.awsLogs({
          streamPrefix: 'count',
          logGroup: new logs.LogGroup(this, 'Logs', {
            logGroupName: '/cdk/jobs', retention: logs.RetentionDays.ONE_MONTH, removalPolicy: RemovalPolicy.DESTROY,
          }),
        }),
      }),
    });
    new CfnOutput(this, 'QueueArn', { value: queue.jobQueueArn });
    new CfnOutput(this, 'DefinitionArn', { value: definition.jobDefinitionArn });
  }
}

const app = new App();
const given = (name) => app.node.tryGetContext(name);
new Group(app, 'group', {
  reads: given('reads'),
  path: given('path'),
  maxvCpus: Number(given('vcpus') ?? 8),
  script: given('bootstrapped') && 'count.sh',
  synthesizer: given('bootstrapped') ? new DefaultStackSynthesizer() : new LegacyStackSynthesizer(),
});
