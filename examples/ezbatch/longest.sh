# The length of the longest read.
set -e -o pipefail
aws s3 cp --quiet "$READS_1" - | gzip -cd | awk 'NR % 4 == 2 && length > n { n = length } END { print n, "bases" }'
