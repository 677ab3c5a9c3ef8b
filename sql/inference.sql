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

CREATE FUNCTION delc.predict(model text, input "any", reading text DEFAULT 'full') RETURNS text
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'delc_predict';
COMMENT ON FUNCTION delc.predict(text, "any", text) IS
$comment$What a model says of one row: the label in its original text form; for several labels an array in text form; for regression the number. input: a whole row (columns are matched by name), an array of numbers, a vector, a tensor, or the bytes of an image: SELECT delc.predict('churn', c) FROM customers c.

reading: 'full', or how much of the parameters is read: 'progressive' gives the same labels from as few leading bits as prove them; 'probable' stops where a statistical rule finds another label unlikely; 'planes:2' gives what two planes (bytes) of each number say. See predict_rows_progressive(). The argument is not called precision: that is a word of PostgreSQL's own, and precision => 'progressive' a syntax error.$comment$;

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

CREATE FUNCTION delc.run_prediction(model text, query text, top_k integer, key text, how text, tolerance double precision, detailed boolean) RETURNS void
LANGUAGE plpython3u VOLATILE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("inference.run_prediction", model, query, top_k, key, how, tolerance, detailed)
$$;
COMMENT ON FUNCTION delc.run_prediction(text, text, integer, text, text, double precision, boolean) IS
'Computes the predictions that predict_rows() and predict_rows_progressive() return.';

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

CREATE FUNCTION delc.emit_details(methods text[], details bytea) RETURNS void
LANGUAGE c STRICT VOLATILE
AS 'MODULE_PATHNAME', 'delc_emit_details';
COMMENT ON FUNCTION delc.emit_details(text[], bytea) IS
'How the predictions to be added next were come by; called by run_prediction().';

CREATE FUNCTION delc.predict_rows(model text, query text, top integer DEFAULT NULL, key_column text DEFAULT NULL, reading text DEFAULT 'full')
RETURNS TABLE (key text, rank integer, label text, probability double precision, value double precision)
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'delc_predict_rows';
COMMENT ON FUNCTION delc.predict_rows(text, text, integer, text, text) IS
$comment$What a model says of each row of a query, which runs with the caller's rights. One row for each label: its rank (1: most likely) and probability; top asks for so many, NULL for the most likely (for several labels: those with a probability above 0.5). Regression gives one row for each output: its name as label, and value. key_column: the column that identifies rows, by default the first that is no feature of the model; without one, rows are numbered. reading: as for predict(); how each answer was come by says predict_rows_progressive().$comment$;

CREATE FUNCTION delc.predict_rows_progressive(model text, query text, top integer DEFAULT NULL, key_column text DEFAULT NULL, reading text DEFAULT 'progressive', tolerance double precision DEFAULT NULL)
RETURNS TABLE (key text, rank integer, label text, probability double precision, value double precision, planes double precision, bits integer, certified boolean, method text, margin_low double precision, margin_high double precision, error_rate double precision)
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'delc_predict_rows';
COMMENT ON FUNCTION delc.predict_rows_progressive(text, text, integer, text, text, double precision) IS
$comment$As predict_rows(), from as few leading bits of the parameters as the answer needs, and how it was come by: planes (bytes of each number, halves count) and bits that it is made from; certified: proven to be the answer of full precision, whatever the bits say that were not read; method: intervals, traced or refined (bounds, by what they cost), in full (everything was read, the answer is that of full precision), planes or probable. margin_low, margin_high: bounds of the smallest difference between outputs that the answer rests on; for several labels of the smallest distance of an output from zero; for regression of the number itself. Probabilities of answers that were not read in full are approximate.

reading (precision => would be a syntax error): 'progressive' (labels, ranks and sets of labels are always those of full precision); 'probable' (a margin of six standard deviations of independent uniform errors is taken for enough; error_rate is what this rule implies; not a proof); 'planes:k' (the answer from k planes, unknown bits at their mean; nothing is certified); 'full'. tolerance: numbers of a regression are certified to within it; without one they are read in full.

Every kind of layer has bounds, with these exceptions, for which everything is read at once (and the remark of progressive_reading() says so): upsample in modes other than nearest; batch norm without running statistics, instance norm with them; normalize over the rows, or with exponents other than 1 and 2; convolutions where torch computes them without oneDNN or on processors other than x86; a torch that is told to compute float32 less exactly; constants of layers beyond 2^100 or, other than 0, below 2^-100, and a softplus with a threshold above 80. Rows in which float32 might overflow on the way are read in full. Of recurrent layers, attention, local_response_norm and normalize only intervals go on, so deep stacks of them are mostly read in full. A version that was rounded (archived with loss) answers with a notice: what is certified is relative to what is stored.

A call takes at most 1.3 times the time of the processor that full precision takes, and 1 s more once for each model and session: everything that is done for bounds is paid of a quarter of the time that full precision is thought to take for the rows, and 0.65 s; then the rest is read in full. Of many rows a few are tried first, and none where reading all that is left takes less time than bounds of them all.

What was read, and why, says progressive_reading().$comment$;

CREATE FUNCTION delc.progressive_reading()
RETURNS TABLE (model text, planes double precision, bits integer, method text, rows bigint, bytes bigint, chunks bigint, shared_bytes bigint, stored_bytes bigint, remark text)
LANGUAGE plpython3u STABLE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("inference.progressive_reading")
$$;
COMMENT ON FUNCTION delc.progressive_reading() IS
$comment$What the last call of this session with a reading other than full has read: a row for each depth and method with the rows that were settled so (two for two planes where some rows needed a half plane more of the smallest parameters; bits 12 where half a plane less of the one parameter that is most of the model was enough); bytes and chunks of TOAST tables (of 1,996 bytes each) that the call had read of the parameters by then, those for finding the planes among them; shared_bytes: what was not read of parameters whose numbers came from memory that sessions share, as may be where a model is read in full at once; stored_bytes: what all parameters take. Planes that an earlier call of the session has read are kept and not read again. remark: why everything was read, if so.$comment$;

CREATE FUNCTION delc.describe_parameters_progressive(model text, reading text DEFAULT 'planes:2')
RETURNS TABLE (layer text, parameter text, shape bigint[], dtype text, bits integer, count bigint, mean_low double precision, mean_high double precision, std_low double precision, std_high double precision, min_low double precision, min_high double precision, max_low double precision, max_high double precision, norm_low double precision, norm_high double precision, zeros_low double precision, zeros_high double precision)
LANGUAGE plpython3u STABLE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("inference.describe_parameters_progressive", model, reading)
$$;
COMMENT ON FUNCTION delc.describe_parameters_progressive(text, text) IS
$comment$As describe_parameters(), from the leading planes of the parameters alone, with error bars: what all bits say lies between low and high, always. bits: so many of each number are known; small parameters are read whole. reading: 'planes:k' or 'full'. NULL where numbers may be infinite or NaN.$comment$;

CREATE FUNCTION delc.diff_parameters_progressive(a text, b text, reading text DEFAULT 'planes:2')
RETURNS TABLE (layer text, parameter text, shape_a bigint[], shape_b bigint[], bits integer, norm_a_low double precision, norm_a_high double precision, norm_b_low double precision, norm_b_high double precision, distance_low double precision, distance_high double precision, cosine_low double precision, cosine_high double precision, unchanged_low double precision, unchanged_high double precision)
LANGUAGE plpython3u STABLE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("inference.diff_parameters_progressive", a, b, reading)
$$;
COMMENT ON FUNCTION delc.diff_parameters_progressive(text, text, text) IS
$comment$As diff_parameters(), from the leading planes of the parameters alone, with error bars: norms, norm of the difference, cosine and share of unchanged numbers lie between low and high, always. A parameter that both versions share is known to be the same without its other bits. reading: 'planes:k' or 'full'. NULL where one lacks the parameter or has another shape, where numbers may be infinite or NaN, and for the cosine where one may be zero.$comment$;

CREATE FUNCTION delc.plane_directory(value delc.tensor, OUT dtype text, OUT stored bigint, OUT ends bigint[], OUT bits bigint[], OUT chunks integer)
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'delc_tensor_plane_directory';
COMMENT ON FUNCTION delc.plane_directory(delc.tensor) IS
'How the planes of a stored tensor or delta lie: its dtype and bytes, where each plane ends, how many leading bits of each number are known with it (all of them only at the end of an integer difference), and the chunks of a TOAST table that were read to know this.';

CREATE FUNCTION delc.stored_part(value delc.tensor, start bigint, length bigint, OUT bytes bytea, OUT chunks integer)
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'delc_tensor_stored_part';
COMMENT ON FUNCTION delc.stored_part(delc.tensor, bigint, bigint) IS
'Bytes of a stored tensor as they are, and how many chunks of a TOAST table were read for them.';

CREATE FUNCTION delc.read_planes(value delc.tensor, known integer, planes integer, OUT bytes bigint, OUT chunks integer)
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'delc_tensor_read_planes';
COMMENT ON FUNCTION delc.read_planes(delc.tensor, integer, integer) IS
'Reads further planes of a stored tensor into numbers of which the known ones were read before: the work of predictions with a reading other than full, without a use of its own. Returns bytes of planes and chunks of a TOAST table that were read.';

CREATE FUNCTION delc.tensor_of_prefix(prefix bytea, stored bigint) RETURNS delc.tensor
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'delc_tensor_of_prefix';
COMMENT ON FUNCTION delc.tensor_of_prefix(bytea, bigint) IS
'A stored tensor or delta of which only the first bytes are known, with zeros for the others: for planes() and restore(), which are to read no further.';
