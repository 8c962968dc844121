-- Jobs that only wait are not kept in memory whole. `kind` says what the scheduler must know of such a job: its specification without
-- what is its own (id, name, container ...), of which there are few. NULL for all other jobs.
CREATE TABLE kinds (id INTEGER PRIMARY KEY, body TEXT NOT NULL);
ALTER TABLE jobs ADD COLUMN kind INTEGER;
DROP INDEX jobs_of_queue;
CREATE INDEX jobs_of_queue ON jobs (queue, status, id, kind) WHERE parent IS NULL;
