-- DQL, the model query language: queries, stored queries and configurations, and the trials of evaluate.

CREATE TABLE delc.queries (
    name text PRIMARY KEY CHECK (name OPERATOR(pg_catalog.<>) '' AND name OPERATOR(pg_catalog.=) pg_catalog.btrim(name)),
    query text NOT NULL,
    owner text NOT NULL,
    saved_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE delc.queries IS 'Stored queries of DQL: evaluate m from "name" and the like take their models from them.';
COMMENT ON COLUMN delc.queries.owner IS 'The role that saved it first; its members may change and drop it.';

CREATE TABLE delc.configs (
    name text PRIMARY KEY CHECK (name OPERATOR(pg_catalog.<>) '' AND name OPERATOR(pg_catalog.=) pg_catalog.btrim(name)),
    config jsonb NOT NULL,
    owner text NOT NULL,
    saved_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE delc.configs IS 'Stored configurations: what a query says with config = "name" trains its models with.';
COMMENT ON COLUMN delc.configs.config IS
'Options of delc.train() by name, dataset, and how to search (docs/dql.md); a query''s vary changes them from trial to trial.';
COMMENT ON COLUMN delc.configs.owner IS 'The role that saved it first; its members may change and drop it.';

CREATE TABLE delc.trials (
    run_id bigint PRIMARY KEY REFERENCES delc.runs ON DELETE CASCADE,
    query_run_id bigint NOT NULL REFERENCES delc.runs ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    number integer NOT NULL CHECK (number OPERATOR(pg_catalog.>) 0),
    source text NOT NULL,
    hyperparameters jsonb NOT NULL,
    state text NOT NULL,
    metric text NOT NULL,
    value double precision,
    iterations integer NOT NULL,
    model_version_id bigint,
    UNIQUE (query_run_id, number)
);
COMMENT ON TABLE delc.trials IS
'What queries with evaluate have tried, one row for each trial; its metrics by iteration are those of run_id in delc.metrics.';
COMMENT ON COLUMN delc.trials.query_run_id IS 'The run of the query.';
COMMENT ON COLUMN delc.trials.number IS 'Which of the query''s trials it was, from 1.';
COMMENT ON COLUMN delc.trials.source IS 'The version that it began with, by its name then.';
COMMENT ON COLUMN delc.trials.hyperparameters IS 'What varies: the settings of this trial.';
COMMENT ON COLUMN delc.trials.state IS 'kept, finished (trained to the end, and not among the best), stopped at iteration n, or failed: why.';
COMMENT ON COLUMN delc.trials.value IS 'The metric that the query keeps by, after the last iteration; NULL where the trial failed before.';
COMMENT ON COLUMN delc.trials.iterations IS 'How many iterations (epochs) it was trained.';
COMMENT ON COLUMN delc.trials.model_version_id IS 'The version that was kept (delc.model_versions.id), also after it has been dropped; NULL where none was.';
CREATE INDEX trials_model_version ON delc.trials (model_version_id) WHERE model_version_id IS NOT NULL;

-- What searches go by: the layers that read a layer, layers by name and by argument, versions by time, a metric of a run by epoch.
CREATE INDEX layer_edges_from ON delc.layer_edges (version_id, from_layer, to_layer);
CREATE INDEX layers_name ON delc.layers (name pg_catalog.text_pattern_ops, version_id);
CREATE INDEX layers_arguments ON delc.layers USING gin (arguments pg_catalog.jsonb_path_ops);
CREATE INDEX models_name_pattern ON delc.models (name pg_catalog.text_pattern_ops);
CREATE INDEX model_versions_created ON delc.model_versions (created_at);
CREATE INDEX metrics_epoch ON delc.metrics (metric, run_id, epoch);

CREATE FUNCTION delc.dql(query text, dry_run boolean DEFAULT false, seed bigint DEFAULT 0)
RETURNS TABLE (number integer, variable text, model text, state text, source text, detail text, metric text, value double precision,
               iterations integer, run_id bigint, version_id bigint)
LANGUAGE plpython3u VOLATILE
TRANSFORM FOR TYPE delc.tensor
SET jit = off
-- A query that is asked again is planned again: by its values, not for any values.
SET plan_cache_mode = force_custom_plan
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("dql.dql", query, dry_run, seed)
$$;
COMMENT ON FUNCTION delc.dql(text, boolean, bigint) IS
$comment$Runs a query of DQL, the model query language (docs/dql.md): select finds versions of models, slice and construct make new ones of them, evaluate tries models and keeps the best. Anybody who may read models may select; slice and construct need the right to copy models, evaluate the right to train.

One row for each model that is found or made (with several variables: for each of them, the same number), and for each trial of evaluate. state: matched, sliced, constructed; kept, finished, stopped at iteration n, failed: why. source: what the model was made from. detail: what it is, what was changed, or the trial's hyper-parameters. metric and value: what the query asks for first or orders by. run_id: the run that made or tried it, for joins with delc.metrics; version_id: that of delc.model_versions.

dry_run, or the word explain before the query: nothing is made; the rows say what would be (state: plan). seed: of everything random.$comment$;

CREATE FUNCTION delc.run_metrics(run_id bigint)
RETURNS TABLE ("position" integer, metric text, split text, epoch integer, class text, predicted text, value double precision,
               low double precision, high double precision)
LANGUAGE sql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT measured.position, measured.metric, measured.split, measured.epoch, measured.class, measured.predicted, measured.value,
           measured.low, measured.high
    FROM delc.metrics AS measured WHERE measured.run_id OPERATOR(pg_catalog.=) run_metrics.run_id ORDER BY measured.position;
$$;
COMMENT ON FUNCTION delc.run_metrics(bigint) IS
$comment$What a run has measured: the rows of delc.metrics, also of runs that the statement itself has made, which a statement does not see in tables. So the metrics of trials, by iteration, beside the trials: SELECT trial.number, measured.epoch, measured.value FROM delc.dql('evaluate …') AS trial, delc.run_metrics(trial.run_id) AS measured WHERE measured.metric = 'loss'.$comment$;

CREATE FUNCTION delc.save_query(name text, query text) RETURNS text
LANGUAGE plpython3u VOLATILE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("dql.save_query", name, query)
$$;
COMMENT ON FUNCTION delc.save_query(text, text) IS
$comment$Stores a query under a name, by which other queries take it as their source: save_query('good', 'select m where m.accuracy > 0.97'), then: evaluate m from "good" … The query is read, and not run. A name that exists is given the new query, by members of its owner. Returns the name.$comment$;

CREATE FUNCTION delc.drop_query(name text) RETURNS void
LANGUAGE plpython3u VOLATILE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("dql.drop_query", name)
$$;
COMMENT ON FUNCTION delc.drop_query(text) IS 'Drops a stored query; allowed to members of its owner.';

CREATE FUNCTION delc.save_config(name text, config jsonb) RETURNS text
LANGUAGE plpython3u VOLATILE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("dql.save_config", name, config)
$$;
COMMENT ON FUNCTION delc.save_config(text, jsonb) IS
$comment$Stores a configuration under a name, for with config = "name": save_config('small steps', '{"dataset": "digits", "epochs": 20, "learning_rate": 0.01}'). Its settings are checked. A name that exists is given the new configuration, by members of its owner. Returns the name.$comment$;

CREATE FUNCTION delc.drop_config(name text) RETURNS void
LANGUAGE plpython3u VOLATILE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("dql.drop_config", name)
$$;
COMMENT ON FUNCTION delc.drop_config(text) IS 'Drops a stored configuration; allowed to members of its owner.';

CREATE FUNCTION delc.network_svg(model text) RETURNS text
LANGUAGE plpython3u STABLE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("dql.network_svg", model)
$$;
COMMENT ON FUNCTION delc.network_svg(text) IS
$comment$A picture of a version's network, as SVG: layers from top to bottom, with kinds, sizes and shapes. In psql: \t \a \o network.svg, then SELECT delc.network_svg('digits'); \o$comment$;

CREATE FUNCTION delc.diff_svg(a text, b text) RETURNS text
LANGUAGE plpython3u STABLE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("dql.diff_svg", a, b)
$$;
COMMENT ON FUNCTION delc.diff_svg(text, text) IS
$comment$The networks of two versions in one picture, as SVG: what only a has (red, dashed), only b (green), and layers of the same name that are not the same (amber). delc.diff_models() says it in rows.$comment$;

SELECT pg_catalog.pg_extension_config_dump('delc.queries', '');
SELECT pg_catalog.pg_extension_config_dump('delc.configs', '');
SELECT pg_catalog.pg_extension_config_dump('delc.trials', '');
