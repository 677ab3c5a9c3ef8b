-- Evaluation

CREATE FUNCTION delc.evaluate(
    model text,
    data text DEFAULT NULL,
    split text DEFAULT 'test',
    store boolean DEFAULT true,
    confidence double precision DEFAULT 0.95,
    seed bigint DEFAULT 0,
    reading text DEFAULT 'full')
RETURNS TABLE (metric text, class text, value double precision, low double precision, high double precision, predicted text)
LANGUAGE plpython3u VOLATILE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("evaluation.evaluate", model, data, split, store, confidence, seed, reading)
$$;
COMMENT ON FUNCTION delc.evaluate(text, text, text, boolean, double precision, bigint, text) IS
$comment$Measures a model on rows whose target is known: metrics for all rows (class NULL), by class, label or output, and the confusion matrix (class was right, predicted was said), with confidence intervals [low, high]; then parameters, stored_bytes, flops and latency_ms (of one row).

data: a data set (name or name@version), of which split is read (train, validation, test, or NULL for all), or a query, which runs with the caller's rights. Without data: the metrics of the last evaluation that was stored, without running again. Labels that training never saw count as wrong (row unseen_labels; in the confusion matrix their class is NULL); log_loss leaves them out. store: keeps the metrics in delc.metrics and delc.leaderboard; a standby server needs store => false. seed: of the resampling behind intervals. reading: as for predict(); 'progressive' gives the metrics that labels alone decide, exactly as full precision would, and 'probable' and 'planes:k' all metrics of their answers. Only what was read in full is stored.$comment$;

CREATE FUNCTION delc.diff_predictions(a text, b text, data text, split text DEFAULT NULL, key_column text DEFAULT NULL, tolerance double precision DEFAULT 0)
RETURNS TABLE (key text, label_a text, label_b text, probability_a double precision, probability_b double precision, value_a double precision, value_b double precision)
LANGUAGE plpython3u VOLATILE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("evaluation.diff_predictions", a, b, data, split, key_column, tolerance)
$$;
COMMENT ON FUNCTION delc.diff_predictions(text, text, text, text, text, double precision) IS
$comment$The rows on which two versions of models disagree: the label that each predicts (several labels as an array in text form) and its probability, or for regression the output and both values where they are further apart than tolerance. data: a data set (name or name@version) and its split (NULL for all rows), or a query, which runs with the caller's rights. key_column: the column that identifies rows; by default the data set's key, otherwise as for predict_rows().$comment$;

CREATE FUNCTION delc.archive_report(model text, data text, split text DEFAULT NULL)
RETURNS TABLE (scheme text, bytes bigint, share double precision, metric text, value double precision, agreement double precision, largest_change double precision)
LANGUAGE plpython3u STABLE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("evaluation.archive_report", model, data, split)
$$;
COMMENT ON FUNCTION delc.archive_report(text, text, text) IS
$comment$What rounding the parameters of a version would save, and what it would cost, measured on a data set or query; nothing is changed. A row for each scheme: bytes in the archive and their share of exact ones, accuracy, f1 or r2, the share of rows with the same answer, and the largest change of a number; NULL, with a notice, for a scheme that cannot hold the numbers. Schemes: float16, bfloat16; fixed(k), multiples of one power of two for each tensor; uniform(k) and distribution(k), 2^k values for each tensor, evenly spread or by the distribution of its numbers. delc.round_snapshots() does it.$comment$;
