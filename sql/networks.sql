-- Networks

CREATE FUNCTION delc.layer_kinds() RETURNS TABLE (kind text, arguments jsonb, description text)
LANGUAGE plpython3u STABLE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("networks.layer_kinds")
$$;
COMMENT ON FUNCTION delc.layer_kinds() IS
'The kinds of layers that a network can have, with their arguments.';

CREATE FUNCTION delc.check_network(network text, input_shape integer[], outputs integer)
RETURNS TABLE ("position" integer, name text, kind text, arguments jsonb, inputs text[], output_shape integer[], parameters bigint)
LANGUAGE plpython3u STABLE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("networks.check_network", network, input_shape, outputs)
$$;
COMMENT ON FUNCTION delc.check_network(text, integer[], integer) IS
'What a definition of a network becomes for inputs of this shape (one row, such as {1,28,28}) and so many outputs: its layers with all sizes filled in. A wrong definition is an error that names the layer.';
