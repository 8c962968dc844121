# How many reads there are.
set -e -o pipefail
lines=$(aws s3 cp --quiet "$READS_1" - | gzip -cd | wc -l)
echo "$((lines / 4)) reads"
