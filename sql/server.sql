-- The bridge between SQL, C and Python. Users have no use for these functions; the others call them.

CREATE FUNCTION delc.load_python() RETURNS void
LANGUAGE c STRICT
AS '$libdir/delc_plpython', 'delc_load_python';
COMMENT ON FUNCTION delc.load_python() IS
'Makes the Python package delc known to the session, from the folders of delc.python_path. Functions of delc call it; it has no use of its own.';

CREATE FUNCTION delc.tensor_to_python(internal) RETURNS internal
LANGUAGE c STRICT IMMUTABLE
AS '$libdir/delc_plpython', 'delc_tensor_to_python';
COMMENT ON FUNCTION delc.tensor_to_python(internal) IS
'Turns a tensor into a numpy array (bfloat16: a torch tensor) for PL/Python.';

CREATE FUNCTION delc.tensor_from_python(internal) RETURNS delc.tensor
LANGUAGE c STRICT IMMUTABLE
AS '$libdir/delc_plpython', 'delc_tensor_from_python';
COMMENT ON FUNCTION delc.tensor_from_python(internal) IS
'Turns a numpy array, torch tensor or nested list of PL/Python into a tensor.';

CREATE TRANSFORM FOR delc.tensor LANGUAGE plpython3u (
    FROM SQL WITH FUNCTION delc.tensor_to_python(internal),
    TO SQL WITH FUNCTION delc.tensor_from_python(internal)
);
COMMENT ON TRANSFORM FOR delc.tensor LANGUAGE plpython3u IS
'Tensors are numpy arrays in PL/Python functions that say TRANSFORM FOR TYPE delc.tensor.';

-- Packing rows

CREATE FUNCTION delc.describe_query(query text) RETURNS TABLE (name text, type text)
LANGUAGE c STRICT VOLATILE
AS 'MODULE_PATHNAME', 'delc_describe_query';
COMMENT ON FUNCTION delc.describe_query(text) IS
'The names and types of a query''s columns; for a domain, its base type. The query is checked but not run.';

CREATE FUNCTION delc.pack_open(query text, kinds text[], groups integer[], widths bigint[], dtypes text[], batch_size integer) RETURNS text
LANGUAGE c STRICT VOLATILE
AS 'MODULE_PATHNAME', 'delc_pack_open';
COMMENT ON FUNCTION delc.pack_open(text, text[], integer[], bigint[], text[], integer) IS
'Starts packing the rows of a query, which runs with the caller''s rights, into dense arrays; returns the name of its portal. For each column: kind (number, category, key or skip), group and width (-1: as in the first row); for each group: dtype.';

CREATE FUNCTION delc.pack_fetch(portal text) RETURNS bigint
LANGUAGE c STRICT VOLATILE
AS 'MODULE_PATHNAME', 'delc_pack_fetch';
COMMENT ON FUNCTION delc.pack_fetch(text) IS
'Packs the next batch and returns how many rows it has, 0 at the end.';

CREATE FUNCTION delc.pack_close(portal text) RETURNS void
LANGUAGE c STRICT VOLATILE
AS 'MODULE_PATHNAME', 'delc_pack_close';
COMMENT ON FUNCTION delc.pack_close(text) IS
'Ends packing a query; does nothing where an error has ended it.';

-- Progress

CREATE FUNCTION delc.progress_slots(
    OUT pid integer, OUT database_id oid, OUT user_id oid, OUT run_id bigint, OUT operation text, OUT subject text, OUT phase text,
    OUT epoch integer, OUT epochs integer, OUT batch bigint, OUT batches bigint, OUT loss double precision,
    OUT started_at timestamptz, OUT updated_at timestamptz)
RETURNS SETOF record
LANGUAGE c STRICT VOLATILE
AS 'MODULE_PATHNAME', 'delc_progress_slots';
COMMENT ON FUNCTION delc.progress_slots() IS
'What the operations that run at this moment have reported, in all databases. The view delc.progress is made from it.';

CREATE VIEW delc.progress AS
SELECT slot.pid, slot.run_id, role.rolname AS username, slot.operation, slot.subject, slot.phase,
       slot.epoch, slot.epochs, slot.batch, slot.batches, slot.loss, slot.started_at, slot.updated_at
FROM delc.progress_slots() AS slot
JOIN pg_catalog.pg_database AS database ON database.oid OPERATOR(pg_catalog.=) slot.database_id
LEFT JOIN pg_catalog.pg_roles AS role ON role.oid OPERATOR(pg_catalog.=) slot.user_id
WHERE database.datname OPERATOR(pg_catalog.=) pg_catalog.current_database();
COMMENT ON VIEW delc.progress IS
'The operations of this database that run at this moment, in any session: how far each is and its last loss. Before PostgreSQL 17 it needs delc in shared_preload_libraries.';
COMMENT ON COLUMN delc.progress.pid IS 'Process of the session, for pg_cancel_backend().';
COMMENT ON COLUMN delc.progress.run_id IS 'The id that the run will have in delc.runs when it has ended.';
COMMENT ON COLUMN delc.progress.subject IS 'The model or data set that the operation works on.';
