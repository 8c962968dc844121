// Counts the reads of a sample by two Batch jobs that are children of one array, with the AWS SDK for JavaScript.
import { BatchClient, ClientException, DescribeJobsCommand, RegisterJobDefinitionCommand, SubmitJobCommand, TagResourceCommand, ListTagsForResourceCommand, paginateListJobs } from "@aws-sdk/client-batch";
import { CloudWatchLogsClient, GetLogEventsCommand } from "@aws-sdk/client-cloudwatch-logs";
import { GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { setTimeout as sleep } from "node:timers/promises";

const { QUEUE, BUCKET, READS_1, READS_2, TOOLS, PATH } = process.env;
const batch = new BatchClient(), logs = new CloudWatchLogsClient(), s3 = new S3Client({ forcePathStyle: true });

const script = 'url=$(if [ "$AWS_BATCH_JOB_ARRAY_INDEX" = 0 ]; then echo $READS_1; else echo $READS_2; fi); echo $(( $(aws s3 cp --quiet $url - | gzip -cd | wc -l) / 4 ))';
const definition = await batch.send(new RegisterJobDefinitionCommand({
  jobDefinitionName: "count", type: "container",
  containerProperties: {
    image: "genomics-tools", command: ["bash", "-e", "-c", script],
    resourceRequirements: [{ type: "VCPU", value: "1" }, { type: "MEMORY", value: "256" }],
    environment: Object.entries({ READS_1, READS_2, PATH: `${TOOLS}:${PATH}` }).map(([name, value]) => ({ name, value })),
  },
}));
const { jobId, jobArn } = await batch.send(new SubmitJobCommand({ jobName: "count", jobQueue: QUEUE, jobDefinition: definition.jobDefinitionArn, arrayProperties: { size: 2 } }));

let job;
do {
  await sleep(200);
  [job] = (await batch.send(new DescribeJobsCommand({ jobs: [jobId] }))).jobs;
} while (!["SUCCEEDED", "FAILED"].includes(job.status));
console.log(job.status, JSON.stringify(job.arrayProperties.statusSummary.SUCCEEDED));

const counts = [];
for await (const page of paginateListJobs({ client: batch, pageSize: 1 }, { arrayJobId: jobId, jobStatus: "SUCCEEDED" })) {
  const ids = page.jobSummaryList.map((child) => child.jobId);
  if (!ids.length) continue;
  for (const child of (await batch.send(new DescribeJobsCommand({ jobs: ids }))).jobs) {
    const { events } = await logs.send(new GetLogEventsCommand({ logGroupName: "/aws/batch/job", logStreamName: child.container.logStreamName, startFromHead: true }));
    counts.push(Number(events[0].message));
  }
}
await s3.send(new PutObjectCommand({ Bucket: BUCKET, Key: "counts.json", Body: JSON.stringify(counts) }));
console.log(await (await s3.send(new GetObjectCommand({ Bucket: BUCKET, Key: "counts.json" }))).Body.transformToString());

await batch.send(new TagResourceCommand({ resourceArn: jobArn, tags: { sample: "lambda" } }));
console.log((await batch.send(new ListTagsForResourceCommand({ resourceArn: jobArn }))).tags.sample);

try {
  await batch.send(new SubmitJobCommand({ jobName: "x", jobQueue: "none", jobDefinition: "count" }));
} catch (error) {
  console.log(error instanceof ClientException, error.name, error.message);
}
