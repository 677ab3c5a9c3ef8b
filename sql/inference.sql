-- Prediction by row and by set

-- For the type vector, wherever pgvector was installed.
SELECT pg_catalog.set_config('search_path', pg_catalog.quote_ident(namespace.nspname) OPERATOR(pg_catalog.||) ', pg_temp', true)
FROM pg_catalog.pg_extension AS extension
JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid OPERATOR(pg_catalog.=) extension.extnamespace
WHERE extension.extname OPERATOR(pg_catalog.=) 'vector';

CREATE FUNCTION delc.define_row_layout(kinds text[], groups integer[], widths bigint[], dtypes text[]) RETURNS integer
LANGUAGE c STRICT VOLATILE
AS 'MODULE_PATHNAME', 'delc_define_row_layout';
COMMENT ON FUNCTION delc.define_row_layout(text[], integer[], bigint[], text[]) IS
'Says how the rows of the prediction that is being prepared are packed; called by prepare_prediction().';

CREATE FUNCTION delc.prepare_prediction(model text, names text[], types text[], argument text) RETURNS integer
LANGUAGE plpython3u STABLE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("inference.prepare_prediction", model, names, types, argument)
$$;
COMMENT ON FUNCTION delc.prepare_prediction(text, text[], text[], text) IS
'Finds a model and how rows of these columns become its inputs; called by predict() and the like once for each statement.';

CREATE FUNCTION delc.predict_packed(handle integer) RETURNS text
LANGUAGE plpython3u STABLE
TRANSFORM FOR TYPE delc.tensor
AS $$ return GD["delc"]("inference.predict_packed", handle) $$;
COMMENT ON FUNCTION delc.predict_packed(integer) IS 'The prediction for the row that predict() has packed.';

CREATE FUNCTION delc.predict_value_packed(handle integer) RETURNS double precision
LANGUAGE plpython3u STABLE
TRANSFORM FOR TYPE delc.tensor
AS $$ return GD["delc"]("inference.predict_value_packed", handle) $$;
COMMENT ON FUNCTION delc.predict_value_packed(integer) IS 'The number for the row that predict_value() has packed.';

CREATE FUNCTION delc.predict_probability_packed(handle integer) RETURNS double precision
LANGUAGE plpython3u STABLE
TRANSFORM FOR TYPE delc.tensor
AS $$ return GD["delc"]("inference.predict_probability_packed", handle) $$;
COMMENT ON FUNCTION delc.predict_probability_packed(integer) IS 'The probability for the row that predict_probability() has packed.';

CREATE FUNCTION delc.embed_packed(handle integer) RETURNS delc.tensor
LANGUAGE plpython3u STABLE
TRANSFORM FOR TYPE delc.tensor
AS $$ return GD["delc"]("inference.embed_packed", handle) $$;
COMMENT ON FUNCTION delc.embed_packed(integer) IS 'The activations for the row that embed() has packed.';

CREATE FUNCTION delc.predict(model text, input "any") RETURNS text
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'delc_predict';
COMMENT ON FUNCTION delc.predict(text, "any") IS
'What a model says of one row: the label in its original text form; for several labels an array in text form; for regression the number. input: a whole row (columns are matched by name), an array of numbers, a vector, a tensor, or the bytes of an image: SELECT delc.predict(''churn'', c) FROM customers c.';

CREATE FUNCTION delc.predict_value(model text, input "any") RETURNS double precision
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'delc_predict_value';
COMMENT ON FUNCTION delc.predict_value(text, "any") IS
'The number that a regression model with one output predicts for one row; input as for predict().';

CREATE FUNCTION delc.predict_probability(model text, input "any", label text) RETURNS double precision
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'delc_predict_probability';
COMMENT ON FUNCTION delc.predict_probability(text, "any", text) IS
'The probability that a row has the label, as the model sees it; input as for predict().';

CREATE FUNCTION delc.embed(model text, input "any", layer text DEFAULT NULL) RETURNS vector
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'delc_embed';
COMMENT ON FUNCTION delc.embed(text, "any", text) IS
'The activations of a layer for one row, flattened, as a vector to search by similarity; by default those of the layer before the last. input as for predict().';

CREATE FUNCTION delc.run_prediction(model text, query text, top_k integer, key text) RETURNS void
LANGUAGE plpython3u VOLATILE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("inference.run_prediction", model, query, top_k, key)
$$;
COMMENT ON FUNCTION delc.run_prediction(text, text, integer, text) IS 'Computes the predictions that predict_rows() returns.';

CREATE FUNCTION delc.begin_predictions(labels text[], probabilities boolean) RETURNS void
LANGUAGE c STRICT VOLATILE
AS 'MODULE_PATHNAME', 'delc_begin_predictions';
COMMENT ON FUNCTION delc.begin_predictions(text[], boolean) IS
'Says what the codes of the predictions to come mean, and whether their scores are probabilities; called by run_prediction().';

CREATE FUNCTION delc.emit_predictions(portal text, k integer, codes bytea, scores bytea) RETURNS bigint
LANGUAGE c STRICT VOLATILE
AS 'MODULE_PATHNAME', 'delc_emit_predictions';
COMMENT ON FUNCTION delc.emit_predictions(text, integer, bytea, bytea) IS
'Adds k predictions for each row of a packed batch to what predict_rows() returns; called by run_prediction().';

CREATE FUNCTION delc.predict_rows(model text, query text, top integer DEFAULT NULL, key_column text DEFAULT NULL)
RETURNS TABLE (key text, rank integer, label text, probability double precision, value double precision)
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'delc_predict_rows';
COMMENT ON FUNCTION delc.predict_rows(text, text, integer, text) IS
'What a model says of each row of a query, which runs with the caller''s rights. One row for each label: its rank (1: most likely) and probability; top asks for so many, NULL for the most likely (for several labels: those with a probability above 0.5). Regression gives one row for each output: its name as label, and value. key_column: the column that identifies rows, by default the first that is no feature of the model; without one, rows are numbered.';
