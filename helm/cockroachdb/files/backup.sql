-- The schedule of backups; its label holds what it is made of, so another value makes another schedule.
CREATE SCHEDULE IF NOT EXISTS '@LABEL@' FOR BACKUP DATABASE @DATABASE@ INTO '@URL@' RECURRING '@RECURRING@' FULL BACKUP '@FULL@' WITH SCHEDULE OPTIONS first_run = 'now', on_execution_failure = 'reschedule', on_previous_running = 'wait';
DROP SCHEDULES WITH all_of_them AS (SHOW SCHEDULES) SELECT id FROM all_of_them WHERE label LIKE 'fileflux-backup-%' AND label <> '@LABEL@';
