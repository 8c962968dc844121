-- What is searched is a column, the rest of a record is one JSON text.
-- Job ids are time-ordered, so rows are appended, not scattered, and order by id is order of submission.
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE environments (arn TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE queues (arn TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE definitions (arn TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE instances (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;

-- One row per submission; the children of an array share it.
CREATE TABLE specifications (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;

-- `parent` and `child` are set for an array's child, which has a row only after its first move.
CREATE TABLE jobs (
  id TEXT PRIMARY KEY,
  spec TEXT NOT NULL,
  queue TEXT NOT NULL,
  parent TEXT,
  child INTEGER,
  status TEXT NOT NULL,
  body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX jobs_of_queue ON jobs (queue, status, id) WHERE parent IS NULL;
CREATE INDEX jobs_of_array ON jobs (parent, child, status) WHERE parent IS NOT NULL;
