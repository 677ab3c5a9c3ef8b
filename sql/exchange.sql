-- Models in and out: files, and parameters as rows.

CREATE FUNCTION delc.import_state_dict(
    model text,
    weights bytea,
    network text DEFAULT NULL,
    input_shape integer[] DEFAULT NULL,
    labels text[] DEFAULT NULL,
    columns text[] DEFAULT NULL,
    features jsonb DEFAULT NULL,
    task text DEFAULT NULL,
    target text[] DEFAULT NULL,
    based_on text DEFAULT NULL,
    message text DEFAULT NULL)
RETURNS text
LANGUAGE plpython3u VOLATILE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("exchange.import_state_dict", *args)
$$;
COMMENT ON FUNCTION delc.import_state_dict(text, bytea, text, integer[], text[], text[], jsonb, text, text[], text, text) IS
$comment$Stores the parameters of a PyTorch model (its state_dict, as a safetensors file or one that torch.save wrote) as a new version of a model, and returns the version. Nothing is unpickled but tensors.

network: the layers as JSON, named as the parameters are, or an architecture's name (docs/layers.md). What it reads: input_shape, one row's shape (one array or vector, which may go by any name), or columns, the names of its numbers in order, or features for anything else: {"column": {"kind": "array", "shape": [1,28,28], "center": 0.13, "scale": 0.3}, "words": {"kind": "tokens", "shape": [64], "size": 30522}}. What it gives: labels in the order of the outputs; task (classification where labels are given, else regression, or multilabel); target, the columns that evaluate() compares with. Whatever is not given is taken from the file where delc wrote it, from the version based_on, or from the model's newest version.$comment$;

CREATE FUNCTION delc.import_program(
    model text,
    program bytea,
    input_shape integer[] DEFAULT NULL,
    labels text[] DEFAULT NULL,
    columns text[] DEFAULT NULL,
    features jsonb DEFAULT NULL,
    task text DEFAULT NULL,
    target text[] DEFAULT NULL,
    based_on text DEFAULT NULL,
    message text DEFAULT NULL)
RETURNS text
LANGUAGE plpython3u VOLATILE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("exchange.import_program", *args)
$$;
COMMENT ON FUNCTION delc.import_program(text, bytea, integer[], text[], text[], jsonb, text, text[], text, text) IS
'Stores a program that torch.export.save wrote (torch 2.7 or later, model.eval()) as a new version of a model, where its operations are kinds of layers, and returns the version; anything else is an error that names the operation. The graph and the numbers are read, nothing in the file is run or unpickled. Inputs are taken from the program; the other arguments are those of import_state_dict().';

CREATE FUNCTION delc.import_onnx(
    model text,
    file bytea,
    input_shape integer[] DEFAULT NULL,
    labels text[] DEFAULT NULL,
    columns text[] DEFAULT NULL,
    features jsonb DEFAULT NULL,
    task text DEFAULT NULL,
    target text[] DEFAULT NULL,
    based_on text DEFAULT NULL,
    message text DEFAULT NULL)
RETURNS text
LANGUAGE plpython3u VOLATILE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("exchange.import_onnx", *args)
$$;
COMMENT ON FUNCTION delc.import_onnx(text, bytea, integer[], text[], text[], jsonb, text, text[], text, text) IS
'Stores an ONNX file as a new version of a model, where its operators are kinds of layers, and returns the version; anything else is an error that names the operator. A softmax at the end of a classifier is left out, because prediction applies it. Inputs are taken from the file; the other arguments are those of import_state_dict(). Needs the Python package onnx on the server.';

CREATE FUNCTION delc.import_parameters(
    model text,
    query text,
    network text DEFAULT NULL,
    input_shape integer[] DEFAULT NULL,
    labels text[] DEFAULT NULL,
    columns text[] DEFAULT NULL,
    features jsonb DEFAULT NULL,
    task text DEFAULT NULL,
    target text[] DEFAULT NULL,
    based_on text DEFAULT NULL,
    message text DEFAULT NULL)
RETURNS text
LANGUAGE plpython3u VOLATILE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("exchange.import_parameters", *args)
$$;
COMMENT ON FUNCTION delc.import_parameters(text, text, text, integer[], text[], text[], jsonb, text, text[], text, text) IS
'Stores the parameters that a query gives as a new version of a model, and returns the version. The query runs with the caller''s rights; its rows are (name text, value delc.tensor), and for parameters in pieces chunk integer (from 0) and shape bigint[] (of the whole), ordered by name and chunk. Few rows are in memory at a time. The other arguments are those of import_state_dict().';

CREATE FUNCTION delc.insert_parameter() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    stored bigint;
BEGIN
    IF NOT EXISTS (
        SELECT FROM delc.snapshots AS snapshot
        WHERE snapshot.id = NEW.snapshot_id
            AND NOT EXISTS (SELECT FROM delc.model_versions AS version WHERE version.id = snapshot.version_id)
    ) THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('snapshot %s takes no parameters', NEW.snapshot_id),
            HINT = 'Begin an import with delc.begin_import() in the same transaction.';
    END IF;
    INSERT INTO delc.stored_tensors (value, dtype, elements, checksum)
    VALUES (NEW.value, delc.dtype(NEW.value), delc.elements(NEW.value), delc.checksum(NEW.value)) RETURNING id INTO stored;
    INSERT INTO delc.snapshot_parameters (snapshot_id, name, chunk, shape, learnable, tensor_id)
    VALUES (NEW.snapshot_id, NEW.name, coalesce(NEW.chunk, 0), NEW.shape, NEW.learnable, stored);
    -- PostgreSQL frees a row after its trigger only where the trigger gave another one back. A row that came by COPY
    -- and went back as it was would stay in memory until the end of the COPY, all of a model with it.
    NEW.chunk := coalesce(NEW.chunk, 0);
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION delc.insert_parameter() IS
'Lets parameters into a snapshot until its version is made, so that they can come by COPY; a version never changes.';

CREATE TRIGGER insert_parameter INSTEAD OF INSERT ON delc.parameters FOR EACH ROW EXECUTE FUNCTION delc.insert_parameter();
COMMENT ON TRIGGER insert_parameter ON delc.parameters IS 'Only the snapshot of an import that is under way takes parameters.';

CREATE FUNCTION delc.begin_import() RETURNS bigint
LANGUAGE plpython3u VOLATILE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("exchange.begin_import")
$$;
COMMENT ON FUNCTION delc.begin_import() IS
'Begins an import by COPY: returns the snapshot_id for the rows of COPY delc.parameters (snapshot_id, name, chunk, shape, learnable, value) FROM STDIN, after which finish_import() makes the version. All in one transaction, which cannot be committed before; push() of the Python package delc.client does it.';

CREATE FUNCTION delc.finish_import(
    snapshot bigint,
    model text,
    network text DEFAULT NULL,
    input_shape integer[] DEFAULT NULL,
    labels text[] DEFAULT NULL,
    columns text[] DEFAULT NULL,
    features jsonb DEFAULT NULL,
    task text DEFAULT NULL,
    target text[] DEFAULT NULL,
    based_on text DEFAULT NULL,
    message text DEFAULT NULL)
RETURNS text
LANGUAGE plpython3u VOLATILE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("exchange.finish_import", *args)
$$;
COMMENT ON FUNCTION delc.finish_import(bigint, text, text, integer[], text[], text[], jsonb, text, text[], text, text) IS
'Makes a new version of a model of the parameters that were copied into the snapshot of begin_import(), and returns the version. The other arguments are those of import_state_dict().';

CREATE FUNCTION delc.model_document(model text) RETURNS jsonb
LANGUAGE plpython3u STABLE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("exchange.model_document", model)
$$;
COMMENT ON FUNCTION delc.model_document(text) IS
'Task, network, features and target of a version of a model as one JSON document: all but its parameters.';

CREATE FUNCTION delc.export_parameters(model text)
RETURNS TABLE (name text, chunk integer, shape bigint[], learnable boolean, value delc.tensor)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT parameter.name, parameter.chunk, parameter.shape, parameter.learnable, parameter.value
FROM delc.parameters AS parameter
WHERE parameter.snapshot_id OPERATOR(pg_catalog.=) (SELECT delc.find_snapshot(model))
ORDER BY parameter.name, parameter.chunk
$$;
COMMENT ON FUNCTION delc.export_parameters(text) IS
'The parameters of a version of a model, one row for each, or several chunks of a parameter larger than one value may be. Rows are read as they are asked for, so COPY (SELECT * FROM delc.export_parameters(…)) TO … takes little memory; delc.to_npy(value) is a numpy file. import_parameters() takes such rows back.';

CREATE FUNCTION delc.export_safetensors(model text) RETURNS bytea
LANGUAGE plpython3u STABLE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("exchange.export_safetensors", model)
$$;
COMMENT ON FUNCTION delc.export_safetensors(text) IS
'The parameters of a version of a model as a safetensors file, bit for bit, up to 1 GB. Network, features and target are in its metadata, so that import_state_dict() needs nothing else.';

CREATE FUNCTION delc.export_program(model text) RETURNS bytea
LANGUAGE plpython3u STABLE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("exchange.export_program", model)
$$;
COMMENT ON FUNCTION delc.export_program(text) IS
'A version of a model as a program for torch.export.load(), for any number of rows; it takes the encoded inputs and gives the outputs before softmax or sigmoid.';

CREATE FUNCTION delc.export_onnx(model text) RETURNS bytea
LANGUAGE plpython3u STABLE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("exchange.export_onnx", model)
$$;
COMMENT ON FUNCTION delc.export_onnx(text) IS
'A version of a model as an ONNX file (opset 18), for any number of rows; it takes the encoded inputs and gives the outputs before softmax or sigmoid. A kind of layer without an operator is an error that names it. Needs the Python package onnx on the server.';
