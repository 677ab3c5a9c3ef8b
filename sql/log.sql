-- The execution log: who ran what, when, on what, with which outcome.

-- Views and checks shall mean PostgreSQL's own operators, whatever else is in the way. pgvector's type, which may lie in any schema,
-- is not needed until inference.sql.
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE SEQUENCE delc.run_ids;
COMMENT ON SEQUENCE delc.run_ids IS 'Ids of runs; a run takes its id when it starts, whether or not it succeeds.';

CREATE TABLE delc.runs (
    id bigint PRIMARY KEY,
    operation text NOT NULL,
    subject text NOT NULL,
    arguments jsonb NOT NULL,
    seed bigint,
    username text NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('succeeded', 'failed', 'cancelled')),
    error_code text,
    error_message text,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    duration interval GENERATED ALWAYS AS (finished_at - started_at) STORED,
    cpu_seconds double precision,
    peak_memory_bytes bigint,
    environment jsonb NOT NULL,
    CHECK ((outcome = 'succeeded') = (error_code IS NULL))
);
COMMENT ON TABLE delc.runs IS
'The execution log: one row for each run of an operation, also for those that failed or were cancelled and whose transaction is gone. A run that succeeded in a transaction that was rolled back leaves nothing.';
COMMENT ON COLUMN delc.runs.operation IS 'The function that was called: create_dataset, commit_dataset, train, evaluate, …';
COMMENT ON COLUMN delc.runs.subject IS 'The model or data set that it was about, as the caller named it.';
COMMENT ON COLUMN delc.runs.arguments IS 'All arguments, defaults included.';
COMMENT ON COLUMN delc.runs.seed IS 'The seed of everything random in the run.';
COMMENT ON COLUMN delc.runs.username IS 'The role that called.';
COMMENT ON COLUMN delc.runs.outcome IS 'succeeded, failed or cancelled.';
COMMENT ON COLUMN delc.runs.error_code IS 'SQLSTATE of the error that ended the run.';
COMMENT ON COLUMN delc.runs.cpu_seconds IS 'Processor time that the run took, over all threads.';
COMMENT ON COLUMN delc.runs.peak_memory_bytes IS 'Largest resident size of the backend up to the end of the run.';
COMMENT ON COLUMN delc.runs.environment IS 'Versions of everything that can change a result, threads, device and processor.';
CREATE INDEX runs_subject ON delc.runs (subject, started_at);
CREATE INDEX runs_started_at ON delc.runs (started_at);

CREATE TABLE delc.metrics (
    run_id bigint NOT NULL REFERENCES delc.runs ON DELETE CASCADE,
    position integer NOT NULL,
    metric text NOT NULL,
    split text,
    epoch integer,
    class text,
    predicted text,
    value double precision NOT NULL,
    low double precision,
    high double precision,
    PRIMARY KEY (run_id, position)
);
COMMENT ON TABLE delc.metrics IS
'Everything that runs measured: losses and metrics by epoch of a training, metrics by label of an evaluation.';
COMMENT ON COLUMN delc.metrics.position IS 'Order within the run.';
COMMENT ON COLUMN delc.metrics.split IS 'The rows it was measured on: train, validation, test, all, or query.';
COMMENT ON COLUMN delc.metrics.epoch IS 'Epoch of a training, counted from 1; NULL for evaluations.';
COMMENT ON COLUMN delc.metrics.class IS 'The class, label or output that it speaks of; NULL when of all.';
COMMENT ON COLUMN delc.metrics.predicted IS 'For the metric confusion: the class that was predicted where class was right.';
COMMENT ON COLUMN delc.metrics.low IS 'Lower end of the 95 % confidence interval.';
COMMENT ON COLUMN delc.metrics.high IS 'Upper end of the 95 % confidence interval.';
CREATE INDEX metrics_metric ON delc.metrics (metric, run_id);

CREATE TABLE delc.run_inputs (
    run_id bigint NOT NULL REFERENCES delc.runs ON DELETE CASCADE,
    position integer NOT NULL,
    dataset_version_id bigint,
    model_version_id bigint,
    split text,
    epoch integer,
    PRIMARY KEY (run_id, position),
    CHECK (pg_catalog.num_nonnulls(dataset_version_id, model_version_id) = 1)
);
COMMENT ON TABLE delc.run_inputs IS 'The versions of data sets and models that a run read.';
COMMENT ON COLUMN delc.run_inputs.split IS 'The part of the data set that was read: train, validation, test; NULL for all of it.';
COMMENT ON COLUMN delc.run_inputs.epoch IS 'The snapshot of the model''s version that was read, where it was not the one in use: the epoch after which it was taken.';
CREATE INDEX run_inputs_dataset_version ON delc.run_inputs (dataset_version_id) WHERE dataset_version_id IS NOT NULL;
CREATE INDEX run_inputs_model_version ON delc.run_inputs (model_version_id) WHERE model_version_id IS NOT NULL;

CREATE TABLE delc.run_outputs (
    run_id bigint NOT NULL REFERENCES delc.runs ON DELETE CASCADE,
    position integer NOT NULL,
    dataset_version_id bigint,
    model_version_id bigint,
    PRIMARY KEY (run_id, position),
    CHECK (pg_catalog.num_nonnulls(dataset_version_id, model_version_id) = 1)
);
COMMENT ON TABLE delc.run_outputs IS 'The versions of data sets and models that a run made.';
CREATE INDEX run_outputs_dataset_version ON delc.run_outputs (dataset_version_id) WHERE dataset_version_id IS NOT NULL;
CREATE INDEX run_outputs_model_version ON delc.run_outputs (model_version_id) WHERE model_version_id IS NOT NULL;

CREATE FUNCTION delc.announce_run(record text) RETURNS void
LANGUAGE c STRICT VOLATILE
AS 'MODULE_PATHNAME', 'delc_announce_run';
COMMENT ON FUNCTION delc.announce_run(text) IS
'Keeps the record to be written should the session be terminated in the middle of a run.';

CREATE FUNCTION delc.finish_run() RETURNS void
LANGUAGE c STRICT VOLATILE
AS 'MODULE_PATHNAME', 'delc_finish_run';
COMMENT ON FUNCTION delc.finish_run() IS
'Drops the record that announce_run() keeps: the run has ended and said how.';

CREATE FUNCTION delc.record_failed_run(record text) RETURNS boolean
LANGUAGE c STRICT VOLATILE
AS 'MODULE_PATHNAME', 'delc_record_failed_run';
COMMENT ON FUNCTION delc.record_failed_run(text) IS
'Writes the record of a failed run in a transaction of its own, through a background worker; false when none was free.';

CREATE FUNCTION delc.write_failed_run(record jsonb) RETURNS void
LANGUAGE sql STRICT VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO delc.runs (id, operation, subject, arguments, seed, username, outcome, error_code, error_message,
                           started_at, finished_at, cpu_seconds, peak_memory_bytes, environment)
    SELECT run.id, run.operation, run.subject, run.arguments, run.seed, run.username, run.outcome, run.error_code, run.error_message,
           run.started_at, pg_catalog.clock_timestamp(), run.cpu_seconds, run.peak_memory_bytes, run.environment
    FROM pg_catalog.jsonb_to_record(record OPERATOR(pg_catalog.->) 'run')
        AS run(id bigint, operation text, subject text, arguments jsonb, seed bigint, username text, outcome text, error_code text,
               error_message text, started_at timestamptz, cpu_seconds double precision, peak_memory_bytes bigint, environment jsonb);
    INSERT INTO delc.metrics (run_id, position, metric, split, epoch, class, predicted, value, low, high)
    SELECT (record OPERATOR(pg_catalog.#>>) '{run,id}')::bigint, metric.position, metric.metric, metric.split, metric.epoch, metric.label,
           metric.predicted, metric.value, metric.low, metric.high
    FROM pg_catalog.jsonb_to_recordset(record OPERATOR(pg_catalog.->) 'metrics')
        AS metric(position integer, metric text, split text, epoch integer, label text, predicted text,
                  value double precision, low double precision, high double precision);
$$;
COMMENT ON FUNCTION delc.write_failed_run(jsonb) IS
'Inserts the record of a failed run with what it had measured; called by the background worker of record_failed_run().';

CREATE VIEW delc.runs_per_day AS
SELECT pg_catalog.date_trunc('day', started_at)::date AS day, operation, outcome, count(*) AS runs,
       sum(duration) AS total_duration, sum(cpu_seconds) AS cpu_seconds
FROM delc.runs
GROUP BY 1, 2, 3;
COMMENT ON VIEW delc.runs_per_day IS 'How many runs of each operation ended in which way on each day, and the time they took; to be charted.';

CREATE VIEW delc.learning_curves AS
SELECT run.id AS run_id, run.subject AS model, metric.epoch, metric.split, metric.metric, metric.value
FROM delc.metrics AS metric
JOIN delc.runs AS run ON run.id = metric.run_id
WHERE metric.epoch IS NOT NULL;
COMMENT ON VIEW delc.learning_curves IS 'Losses and metrics of trainings by epoch; to be charted.';

SELECT pg_catalog.pg_extension_config_dump('delc.run_ids', '');
SELECT pg_catalog.pg_extension_config_dump('delc.runs', '');
SELECT pg_catalog.pg_extension_config_dump('delc.metrics', '');
SELECT pg_catalog.pg_extension_config_dump('delc.run_inputs', '');
SELECT pg_catalog.pg_extension_config_dump('delc.run_outputs', '');
