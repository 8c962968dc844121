-- Finished jobs are forgotten after their time. `ended_at_ms` is set once a job (not a child) is final; the index holds only those.
-- An array that others follow child by child stays as long as they do: what became of a child without a record follows from it.
-- Of an array that is gone, `leftovers` says that there still are children to be deleted.
ALTER TABLE jobs ADD COLUMN ended_at_ms INTEGER;
UPDATE jobs SET ended_at_ms = json_extract(body, '$.stopped_at_ms') WHERE parent IS NULL AND status IN ('SUCCEEDED', 'FAILED');
CREATE INDEX jobs_ended ON jobs (ended_at_ms) WHERE ended_at_ms IS NOT NULL;
CREATE TABLE followers (leader TEXT NOT NULL, follower TEXT NOT NULL, PRIMARY KEY (leader, follower)) WITHOUT ROWID;
CREATE INDEX followers_by_follower ON followers (follower);
INSERT OR IGNORE INTO followers SELECT json_extract(d.value, '$.job_id'), s.id FROM specifications s, json_each(s.body, '$.depends_on') d
WHERE json_extract(d.value, '$.kind') = 'N_TO_N';
CREATE INDEX consumers_of_spec ON consumers (spec);
CREATE TABLE leftovers (parent TEXT PRIMARY KEY) WITHOUT ROWID;
