#!/bin/sh
# fetch_and_run: runs a script, or a program of a zip archive, that lies in a bucket.
#
#   fetch_and_run NAME [ARGUMENT...]
#
#   BATCH_FILE_TYPE     script or zip
#   BATCH_FILE_S3_URL   s3://BUCKET/KEY of the script or the archive
#
# A script runs in the directory that the job starts in; NAME is what you call it, and the script does not see it. Of an archive, NAME is
# the file in it to run, in the directory where it was unpacked. Both see the arguments after NAME.
#
#   KEEP_BATCH_FILE_CONTENTS=1   what was fetched stays in $TMPDIR; else it is removed at the end
#   JOB_AWS_CLI_PATH             where the AWS CLI is, if it is not on the PATH
#
# Needs sh, and the AWS CLI or a python3 with boto3; for archives unzip or python3. The exit code is the program's; 125 if it could not be run.
set -u
_me=fetch_and_run
#include common.sh

_type=${BATCH_FILE_TYPE:-}
_url=${BATCH_FILE_S3_URL:-}
case $_type in
  script | zip) ;;
  '') fail 'BATCH_FILE_TYPE is not set: script or zip' ;;
  *) fail "BATCH_FILE_TYPE is '$_type': it must be script or zip" ;;
esac
case $_url in
  s3://?*/?*) ;;
  '') fail 'BATCH_FILE_S3_URL is not set: s3://BUCKET/KEY of the script or the archive' ;;
  *) fail "BATCH_FILE_S3_URL is '$_url': it must be s3://BUCKET/KEY" ;;
esac
[ "$_type" = script ] || [ $# -gt 0 ] || fail 'an archive needs an argument: the file in it to run'

attempt_name
_place=$(mktemp -d "${TMPDIR:-/tmp}/fetch_and_run.$_id-${AWS_BATCH_JOB_ATTEMPT:-1}.XXXXXX") || fail "no directory can be made in ${TMPDIR:-/tmp}"
clean_up() { [ "${KEEP_BATCH_FILE_CONTENTS:-0}" != 0 ] || rm -rf "$_place"; }
trap clean_up EXIT

s3_get "$_url" "$_place/fetched"
go_on
[ "$_code" -eq 0 ] || fail "$_url cannot be fetched"

if [ "$_type" = script ]; then
  [ $# -eq 0 ] || shift
  _program=$_place/fetched
else
  _program=./$1
  shift
  mkdir "$_place/contents"
  if command -v unzip >/dev/null 2>&1; then
    run unzip -q "$_place/fetched" -d "$_place/contents"
  else
    run python3 -m zipfile -e "$_place/fetched" "$_place/contents"
  fi
  go_on
  [ "$_code" -eq 0 ] || fail "$_url cannot be unpacked"
  cd "$_place/contents" || fail "$_place/contents cannot be entered"
  [ -f "$_program" ] || fail "there is no ${_program#./} in $_url"
fi
chmod u+x "$_program" || fail "$_program cannot be made executable"
run "$_program" "$@"
exit "$_code"
