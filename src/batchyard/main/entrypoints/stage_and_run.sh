#!/bin/sh
# stage_and_run: brings a job's inputs from buckets, runs its command, takes its outputs to a bucket.
#
#   stage_and_run COMMAND [ARGUMENT...]     joined by spaces, and run by bash (or sh): pipes, > and * work
#
#   JOB_INPUTS            what to bring, separated by spaces: s3://BUCKET/KEY, s3://BUCKET/PREFIX/ (all below it), s3://BUCKET/PREFIX/*.fastq.gz,
#                         https://... , or a path that is there already. Files arrive in the working directory.
#   JOB_OUTPUTS           files, directories and patterns to keep, separated by spaces, seen from the working directory
#   JOB_OUTPUT_PREFIX     s3://BUCKET/PREFIX that outputs go below, each under its own name; without it they stay where they are
#   JOB_DATA_ISOLATION    1: work in JOB_ID/ATTEMPT below the directory that the job starts in, and remove it at the end
#   JOB_DATA_ROOT         make that directory here instead, for example in /scratch
#   JOB_DATA_KEEP         1: do not remove it
#   JOB_WORKFLOW_NAME and JOB_WORKFLOW_EXECUTION_ID   both given: outputs go to JOB_OUTPUT_PREFIX/NAME/ID
#   JOB_AWS_CLI_PATH      where the AWS CLI is, if it is not on the PATH
#   JOB_VERBOSE           1: show each step of this script
#
# $NAME and ${NAME} in JOB_INPUTS, JOB_OUTPUTS and JOB_OUTPUT_PREFIX stand for variables of the environment. An input that is not there, a
# pattern that nothing matches or an output that was not made is an error. Outputs are taken only if the command succeeded. The exit code is
# the command's; 125 if staging failed. Needs sh, and the AWS CLI or a python3 with boto3.
set -u
_me=stage_and_run
#include common.sh

[ "${JOB_VERBOSE:-0}" = 0 ] || set -x
[ $# -gt 0 ] || fail 'there is no command to run'
set -f # items are patterns for buckets, not for the files here

expand "${JOB_OUTPUT_PREFIX:-}"
_prefix=${_expanded%/}
case $_prefix in
  '' | s3://?*) ;;
  *) fail "JOB_OUTPUT_PREFIX is '$_prefix': it must begin with s3://" ;;
esac
if [ -n "$_prefix" ] && [ -n "${JOB_WORKFLOW_NAME:-}" ] && [ -n "${JOB_WORKFLOW_EXECUTION_ID:-}" ]; then
  _prefix=$_prefix/$JOB_WORKFLOW_NAME/$JOB_WORKFLOW_EXECUTION_ID
fi
expand "${JOB_INPUTS:-}"
_inputs=$_expanded
expand "${JOB_OUTPUTS:-}"
_outputs=$_expanded

_place='' _staging=''
clean_up() {
  [ -z "$_staging" ] || rm -f "$_staging" "$_staging.brought"
  [ -n "$_place" ] || return 0
  [ "${JOB_DATA_KEEP:-0}" = 0 ] || { say "kept: $_place"; return 0; }
  cd / && rm -rf "$_place" && rmdir "${_place%/*}" 2>/dev/null
}
trap clean_up EXIT

case ${JOB_DATA_ISOLATION:-} in
  '' | 0) ;;
  1)
    attempt_name
    _root=${JOB_DATA_ROOT:-$PWD}
    mkdir -p "$_root/$_id" && mkdir "$_root/$_id/${AWS_BATCH_JOB_ATTEMPT:-1}" || fail "no directory of this attempt can be made in $_root"
    _place=$_root/$_id/${AWS_BATCH_JOB_ATTEMPT:-1}
    cd "$_place" || fail "$_place cannot be entered"
    ;;
  *) fail "JOB_DATA_ISOLATION is '$JOB_DATA_ISOLATION': it must be 1, or not set" ;;
esac
_staging=$(mktemp "${TMPDIR:-/tmp}/stage_and_run.XXXXXX") || fail "no file can be made in ${TMPDIR:-/tmp}"

# Note that the file $1 here came from $2.
note() { printf '%s\t%s\n' "$1" "$2" >>"$_staging.brought"; }

# The same of what s3_find printed: "download: URL to FILE", where FILE is what the URL has below $1, perhaps with a ./ before it.
note_found() {
  while IFS= read -r _line <&3; do
    _line=${_line#"download: $1"} _before=''
    while :; do
      case $_line in *' to '*) ;; *) break ;; esac
      _before=$_before${_line%%' to '*}
      _line=${_line#*' to '}
      case $_line in "$_before" | "./$_before") note "$_before" "$1$_before" && break ;; esac
      _before="$_before to "
    done
  done 3<"$_staging"
}

bring() {
  case $1 in
    s3://*/*[*?[]* | s3://*/)
      _directory=${1%%[*?[]*}
      _directory=${_directory%/*}/
      _pattern=${1#"$_directory"}
      s3_find "$_directory" "${_pattern:-*}" . >"$_staging"
      go_on
      [ "$_code" -eq 0 ] || fail "input $1 cannot be fetched"
      [ -s "$_staging" ] || fail "input $1: nothing in the bucket matches it"
      note_found "$_directory"
      ;;
    s3://?*/?*)
      s3_get "$1" "./${1##*/}"
      go_on
      [ "$_code" -eq 0 ] || fail "input $1 cannot be fetched"
      note "${1##*/}" "$1"
      ;;
    s3://*) fail "input $1: it must be s3://BUCKET/KEY" ;;
    http://* | https://*)
      _file=${1%%[?#]*}
      if command -v curl >/dev/null 2>&1; then
        run curl --fail --silent --show-error --location --retry 3 --output "./${_file##*/}" "$1"
      else
        run wget -q -O "./${_file##*/}" "$1"
      fi
      go_on
      [ "$_code" -eq 0 ] || fail "input $1 cannot be fetched"
      note "${_file##*/}" "$1"
      ;;
    *) [ -e "$1" ] || fail "input $1 is not there" ;;
  esac
  say "input $1"
}
for _item in $_inputs; do bring "$_item"; done
if [ -f "$_staging.brought" ]; then
  _twice=$(sort -u "$_staging.brought" | cut -f 1 | uniq -d)
  [ -z "$_twice" ] || fail "two inputs are called ${_twice%%
*}: one has overwritten the other"
fi

_shell=$(command -v bash) || _shell=sh
set +f
go_on
run "$_shell" -c "$*"
_ended_by='' # the command was told, and this is its answer
[ "$_code" -eq 0 ] || exit "$_code"

# Where output $1 goes, in $_target, and as what it is found here, in $_source. What is called . is all that is in it.
aim() {
  _source=${1%/}
  case $_source in
    '') _source=/ ;;
    -*) _source=./$_source ;; # or it would be an option
  esac
  _name=${_source##*/}
  case $_name in
    .) _target=$_prefix ;;
    '' | ..) fail "output $1 has no name: say what in it is to be kept" ;;
    *) _target=$_prefix/$_name ;;
  esac
}

# All of them are looked for before the first is taken.
_kept='
'
for _item in $_outputs; do
  aim "$_item"
  [ -e "$_source" ] || fail "output $_item was not made"
  case $_kept in *"
$_name
"*) fail "two outputs are called $_name: they would overwrite each other" ;; esac
  _kept="$_kept$_name
"
done
keep() { # FILE URL
  s3_put "$1" "$2"
  go_on
  [ "$_code" -eq 0 ] || fail "output $1 cannot be taken to $2"
}
for _item in $_outputs; do
  [ -n "$_prefix" ] || { say "output $_item stays here"; continue; }
  aim "$_item"
  if [ -d "$_source" ]; then
    # What links lead to is meant; one that leads nowhere is an output that cannot be taken.
    find -L "$_source" \( -type f -o -type l \) >"$_staging" || fail "output $_item cannot be read"
    [ -s "$_staging" ] || { say "output $_item is a directory without files: a bucket has nothing of the kind"; continue; }
    while IFS= read -r _file <&3; do keep "$_file" "$_target${_file#"$_source"}"; done 3<"$_staging"
  else
    keep "$_source" "$_target"
  fi
  say "output $_item to $_target"
done
exit 0
