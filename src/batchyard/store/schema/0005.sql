-- What ListJobs filters by, in columns: the name in lower case, `name:revision` of the definition, the time of creation, the share if
-- there is one. Of children they are NULL. The first three indexes find the few that a filter lets through; where those are many,
-- `jobs_created` is walked in order: it holds all that any filter looks at, so that no record is read in vain.
ALTER TABLE jobs ADD COLUMN name TEXT;
ALTER TABLE jobs ADD COLUMN definition TEXT;
ALTER TABLE jobs ADD COLUMN created_at_ms INTEGER;
ALTER TABLE jobs ADD COLUMN share TEXT;
UPDATE jobs SET
  name = (SELECT lower(json_extract(s.body, '$.name')) FROM specifications s WHERE s.id = jobs.spec),
  definition = (SELECT substr(json_extract(s.body, '$.definition'), instr(json_extract(s.body, '$.definition'), '/') + 1)
    FROM specifications s WHERE s.id = jobs.spec),
  created_at_ms = json_extract(body, '$.created_at_ms'),
  share = (SELECT json_extract(s.body, '$.share') FROM specifications s WHERE s.id = jobs.spec)
WHERE parent IS NULL;
CREATE INDEX jobs_named ON jobs (queue, name, created_at_ms, id) WHERE parent IS NULL;
CREATE INDEX jobs_defined ON jobs (queue, definition, created_at_ms, id) WHERE parent IS NULL;
CREATE INDEX jobs_shared ON jobs (queue, share, created_at_ms, id) WHERE parent IS NULL AND share IS NOT NULL;
CREATE INDEX jobs_created ON jobs (queue, created_at_ms, id, name, definition, share) WHERE parent IS NULL;
