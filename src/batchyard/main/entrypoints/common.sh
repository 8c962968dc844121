# --- what the entry points of Batchyard have in common: errors, running a command, S3 ---

_own_failure=125 # the exit code when the entry point fails, and not the job

say() { printf '%s: %s\n' "$_me" "$*" >&2; }
fail() { say "$*"; exit "$_own_failure"; }

# Names begin with _ so that none of them is a variable of the job's.

# Run a command to its end and leave its exit code in $_code. A SIGTERM or SIGINT to this script goes on to the command, also one that
# came just before it was there.
_child='' _early='' _told='' _code=0
run() {
  "$@" <&0 &
  _child=$!
  [ -z "$_early" ] || kill -"$_early" "$_child" 2>/dev/null
  _early='' _before=''
  while :; do
    _told=''
    wait "$_child" && _code=0 || _code=$?
    # For a signal wait comes back with 128 and more: the command is still to end, or has just ended so.
    [ -n "$_told" ] && [ "$_code" -gt 128 ] || break
    _before=$_code
  done
  # It had been waited for already. Bash 5.2 then says -1 at times, and its exit code is lost: what is left is that it was told to end.
  case $_code in 127 | -1) _code=${_before:-$_code} ;; esac
  _child=''
}
hand_on() {
  _told=$1 _ended_by=$2
  if [ -n "$_child" ]; then kill -"$1" "$_child" 2>/dev/null; else _early=$1; fi
}
_ended_by=''
trap 'hand_on TERM 143' TERM
trap 'hand_on INT 130' INT

# After a step of our own: end if a signal came meanwhile.
go_on() { [ -z "$_ended_by" ] || { say "ended by a signal"; exit "$_ended_by"; }; }

# $1 with $NAME and ${NAME} in it replaced by their values. Nothing else is expanded, and an unset name is an error.
expand() {
  _expanded='' _rest=$1
  while :; do
    case $_rest in *'$'*) ;; *) break ;; esac
    _expanded=$_expanded${_rest%%\$*}
    _rest=${_rest#*\$}
    case $_rest in
      '{'*'}'*)
        _name=${_rest#\{}
        _name=${_name%%\}*}
        _rest=${_rest#*\}}
        ;;
      *)
        _name=${_rest%%[!A-Za-z0-9_]*}
        _rest=${_rest#"$_name"}
        ;;
    esac
    case $_name in '' | [0-9]* | *[!A-Za-z0-9_]*) fail "$1: '\$$_name' is no variable" ;; esac
    eval "[ -n \"\${$_name+set}\" ]" || fail "$1: the variable $_name is not set"
    eval "_expanded=\$_expanded\$$_name"
  done
  _expanded=$_expanded$_rest
}

# A name for this attempt, no other has it: the job's id and the number of the attempt.
attempt_name() {
  _id=${AWS_BATCH_JOB_ID:-no-batch-job-$$}
  while :; do
    case $_id in *[!A-Za-z0-9_.-]*) ;; *) break ;; esac
    _head=${_id%%[!A-Za-z0-9_.-]*}
    _id=$_head-${_id#"$_head"?}
  done
}

_s3_in_python='
import fnmatch, os, sys
try:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    sys.exit("neither the AWS CLI nor a python3 with boto3 is there")
verb, url, path = sys.argv[1:4]
bucket, _, key = url[len("s3://"):].partition("/")
def get(key, path):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    s3.download_file(bucket, key, path)
try:
    s3 = boto3.client("s3")
    if verb == "put":
        s3.upload_file(path, bucket, key)
    elif verb == "get":
        get(key, path)
    else:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
        for page in pages:
            for one in page.get("Contents", []):
                below = one["Key"][len(key):]
                if not below.endswith("/") and fnmatch.fnmatchcase(below, sys.argv[4]):
                    get(one["Key"], os.path.join(path, below))
                    print("download: s3://%s/%s to %s" % (bucket, one["Key"], below))
except (BotoCoreError, ClientError, OSError) as error:
    sys.exit(str(error))
'

# s3_get URL FILE | s3_put FILE URL | s3_find PREFIX/ PATTERN DIRECTORY (prints what it fetched, and where it is). The exit code is in $_code.
PATH=$PATH${JOB_AWS_CLI_PATH:+:$JOB_AWS_CLI_PATH}
if command -v aws >/dev/null 2>&1; then
  s3_get() { run aws s3 cp --only-show-errors "$1" "$2"; }
  s3_put() { run aws s3 cp --only-show-errors "$1" "$2"; }
  s3_find() { run aws s3 cp --no-progress --recursive --exclude '*' --include "$2" "$1" "$3"; }
else
  s3_get() { run python3 -c "$_s3_in_python" get "$1" "$2"; }
  s3_put() { run python3 -c "$_s3_in_python" put "$2" "$1"; }
  s3_find() { run python3 -c "$_s3_in_python" find "$1" "$3" "$2"; }
fi
