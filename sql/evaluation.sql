-- Evaluation

CREATE FUNCTION delc.evaluate(
    model text,
    data text DEFAULT NULL,
    split text DEFAULT 'test',
    store boolean DEFAULT true,
    confidence double precision DEFAULT 0.95,
    seed bigint DEFAULT 0)
RETURNS TABLE (metric text, class text, value double precision, low double precision, high double precision, predicted text)
LANGUAGE plpython3u VOLATILE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("evaluation.evaluate", model, data, split, store, confidence, seed)
$$;
COMMENT ON FUNCTION delc.evaluate(text, text, text, boolean, double precision, bigint) IS
$comment$Measures a model on rows whose target is known: metrics for all rows (class NULL), by class, label or output, and the confusion matrix (class was right, predicted was said), with confidence intervals [low, high]; then parameters, stored_bytes, flops and latency_ms (of one row).

data: a data set (name or name@version), of which split is read (train, validation, test, or NULL for all), or a query, which runs with the caller's rights. Without data: the metrics of the last evaluation that was stored, without running again. store: keeps the metrics in delc.metrics and delc.leaderboard; a standby server needs store => false. seed: of the resampling behind intervals.$comment$;
