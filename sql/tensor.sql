-- The tensor type: input and output, casts, functions, operators, aggregates.

CREATE TYPE delc.tensor;

CREATE FUNCTION delc.tensor_in(cstring) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_tensor_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_in(cstring) IS 'Text input of tensor.';

CREATE FUNCTION delc.tensor_out(delc.tensor) RETURNS cstring
    AS 'MODULE_PATHNAME', 'delc_tensor_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_out(delc.tensor) IS 'Text output of tensor.';

CREATE FUNCTION delc.tensor_recv(internal) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_tensor_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_recv(internal) IS 'Binary input of tensor.';

CREATE FUNCTION delc.tensor_send(delc.tensor) RETURNS bytea
    AS 'MODULE_PATHNAME', 'delc_tensor_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_send(delc.tensor) IS
'Binary output of tensor. All numbers little-endian: bytes DE 1C, wire version 1, dtype code (1 float64, 2 float32, 3 float16, 4 bfloat16, 5 int64, 6 int32, 7 int16, 8 int8, 9 uint8, 10 bool), rank, three zero bytes; then one int64 per dimension; then the numbers, dense and row-major.';

CREATE TYPE delc.tensor (
    INPUT = delc.tensor_in,
    OUTPUT = delc.tensor_out,
    RECEIVE = delc.tensor_recv,
    SEND = delc.tensor_send,
    INTERNALLENGTH = variable,
    ALIGNMENT = int4,
    STORAGE = external
);
COMMENT ON TYPE delc.tensor IS
'Dense numbers of one dtype (float64, float32, float16, bfloat16, int64, int32, int16, int8, uint8, bool) with a shape of rank 0 to 8; dimensions may be 0. At most 128 MiB of numbers. Reads like float32[2,3]{{1,2.5,NaN},{-0,Infinity,1e-45}}; more than 256 elements are written as base64 of the stored value, as exact. Input also takes braces or brackets alone, as float32: {{1,2},{3,4}}. Stored as byte planes, most significant first, each raw or compressed, so that reading the first planes does not read the rest.';

-- What a tensor is, from its header alone: at most one TOAST chunk is read.

CREATE FUNCTION delc.dtype(value delc.tensor) RETURNS text
    AS 'MODULE_PATHNAME', 'delc_tensor_dtype' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.dtype(delc.tensor) IS
'The name of the element type: float64, float32, float16, bfloat16, int64, int32, int16, int8, uint8 or bool. Reads the header only.';

CREATE FUNCTION delc.shape(value delc.tensor) RETURNS bigint[]
    AS 'MODULE_PATHNAME', 'delc_tensor_shape' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.shape(delc.tensor) IS
'The dimensions, outermost first; an empty array for rank 0. Reads the header only.';

CREATE FUNCTION delc.rank(value delc.tensor) RETURNS integer
    AS 'MODULE_PATHNAME', 'delc_tensor_rank' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.rank(delc.tensor) IS 'The number of dimensions, 0 to 8. Reads the header only.';

CREATE FUNCTION delc.elements(value delc.tensor) RETURNS bigint
    AS 'MODULE_PATHNAME', 'delc_tensor_elements' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.elements(delc.tensor) IS
'The number of elements: the product of the dimensions, 1 for rank 0. Reads the header only.';

CREATE FUNCTION delc.raw_bytes(value delc.tensor) RETURNS bigint
    AS 'MODULE_PATHNAME', 'delc_tensor_raw_bytes' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.raw_bytes(delc.tensor) IS
'Bytes that the numbers take uncompressed: elements times bytes per element. Reads the header only.';

CREATE FUNCTION delc.stored_bytes(value delc.tensor) RETURNS bigint
    AS 'MODULE_PATHNAME', 'delc_tensor_stored_bytes' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.stored_bytes(delc.tensor) IS
'Bytes of the stored value: header and byte planes as they are encoded. Reads none of them.';

CREATE FUNCTION delc.plane_info(value delc.tensor, OUT plane integer, OUT encoding text, OUT stored bigint, OUT raw bigint)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'delc_tensor_plane_info' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 4;
COMMENT ON FUNCTION delc.plane_info(delc.tensor) IS
'A row per byte plane, most significant first (plane 1): its encoding (raw, zstd, or constant: one byte stands for all), bytes stored, and bytes raw (one per element). Reads the header only.';

CREATE FUNCTION delc.planes(value delc.tensor, planes integer) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_tensor_planes' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.planes(delc.tensor, integer) IS
'The tensor with only the given number of high-order bytes of each element; the bytes below are zero. Reads only the TOAST chunks of those planes. planes is 1 or more; the whole tensor where the dtype has no more bytes.';

-- The same numbers, otherwise.

CREATE FUNCTION delc.as_dtype(value delc.tensor, dtype text) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_tensor_as' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.as_dtype(delc.tensor, text) IS
'The tensor with its numbers converted to another dtype: rounded to nearest, ties to even; to bool, true for all but zero. A number that the dtype cannot hold is an error that names its position (also NaN and infinity to integers; infinity and NaN pass between floats).';

CREATE FUNCTION delc.reshape(value delc.tensor, shape bigint[]) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_tensor_reshaped' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.reshape(delc.tensor, bigint[]) IS
'The same numbers in row-major order with another shape of as many elements. One dimension may be -1: it takes what the others leave.';

CREATE FUNCTION delc.tensor(value anyarray, dtype text DEFAULT NULL, shape bigint[] DEFAULT NULL) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_tensor_construct' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor(anyarray, text, bigint[]) IS
'A tensor of an array of numbers or booleans. dtype defaults to that of the array (real float32, double precision and numeric float64, smallint int16, integer int32, bigint int64, boolean bool); other dtypes convert like as_dtype. shape defaults to that of the array; it may have one dimension of -1, like reshape. NULL elements are an error that says where.';

-- Arrays and pgvector's vector. To a tensor on assignment, never silently in an expression.

CREATE FUNCTION delc.tensor_from_array(real[]) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_array_to_tensor' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_from_array(real[]) IS 'A float32 tensor of the array''s shape.';
CREATE FUNCTION delc.tensor_from_array(double precision[]) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_array_to_tensor' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_from_array(double precision[]) IS 'A float64 tensor of the array''s shape.';
CREATE FUNCTION delc.tensor_from_array(numeric[]) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_array_to_tensor' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_from_array(numeric[]) IS 'A float64 tensor of the array''s shape; numbers are rounded to double precision.';
CREATE FUNCTION delc.tensor_from_array(smallint[]) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_array_to_tensor' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_from_array(smallint[]) IS 'An int16 tensor of the array''s shape.';
CREATE FUNCTION delc.tensor_from_array(integer[]) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_array_to_tensor' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_from_array(integer[]) IS 'An int32 tensor of the array''s shape.';
CREATE FUNCTION delc.tensor_from_array(bigint[]) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_array_to_tensor' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_from_array(bigint[]) IS 'An int64 tensor of the array''s shape.';
CREATE FUNCTION delc.tensor_from_array(boolean[]) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_array_to_tensor' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_from_array(boolean[]) IS 'A bool tensor of the array''s shape.';
CREATE FUNCTION delc.tensor_from_vector(vector) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_vector_to_tensor' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_from_vector(vector) IS 'A float32 tensor of rank 1.';

CREATE CAST (real[] AS delc.tensor) WITH FUNCTION delc.tensor_from_array(real[]) AS ASSIGNMENT;
CREATE CAST (double precision[] AS delc.tensor) WITH FUNCTION delc.tensor_from_array(double precision[]) AS ASSIGNMENT;
CREATE CAST (numeric[] AS delc.tensor) WITH FUNCTION delc.tensor_from_array(numeric[]) AS ASSIGNMENT;
CREATE CAST (smallint[] AS delc.tensor) WITH FUNCTION delc.tensor_from_array(smallint[]) AS ASSIGNMENT;
CREATE CAST (integer[] AS delc.tensor) WITH FUNCTION delc.tensor_from_array(integer[]) AS ASSIGNMENT;
CREATE CAST (bigint[] AS delc.tensor) WITH FUNCTION delc.tensor_from_array(bigint[]) AS ASSIGNMENT;
CREATE CAST (boolean[] AS delc.tensor) WITH FUNCTION delc.tensor_from_array(boolean[]) AS ASSIGNMENT;
CREATE CAST (vector AS delc.tensor) WITH FUNCTION delc.tensor_from_vector(vector) AS ASSIGNMENT;
COMMENT ON CAST (real[] AS delc.tensor) IS 'To a float32 tensor of the array''s shape; NULL elements are an error.';
COMMENT ON CAST (double precision[] AS delc.tensor) IS 'To a float64 tensor of the array''s shape; NULL elements are an error.';
COMMENT ON CAST (numeric[] AS delc.tensor) IS 'To a float64 tensor of the array''s shape, rounded to double precision; NULL elements are an error.';
COMMENT ON CAST (smallint[] AS delc.tensor) IS 'To an int16 tensor of the array''s shape; NULL elements are an error.';
COMMENT ON CAST (integer[] AS delc.tensor) IS 'To an int32 tensor of the array''s shape; NULL elements are an error.';
COMMENT ON CAST (bigint[] AS delc.tensor) IS 'To an int64 tensor of the array''s shape; NULL elements are an error.';
COMMENT ON CAST (boolean[] AS delc.tensor) IS 'To a bool tensor of the array''s shape; NULL elements are an error.';
COMMENT ON CAST (vector AS delc.tensor) IS 'To a float32 tensor of rank 1.';

CREATE FUNCTION delc.to_real_array(delc.tensor) RETURNS real[]
    AS 'MODULE_PATHNAME', 'delc_tensor_to_real_array' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.to_real_array(delc.tensor) IS
'The numbers as an array of the tensor''s shape, rank 1 to 6; converted like as_dtype(value, ''float32''). An empty tensor becomes an empty array.';
CREATE FUNCTION delc.to_double_array(delc.tensor) RETURNS double precision[]
    AS 'MODULE_PATHNAME', 'delc_tensor_to_double_array' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.to_double_array(delc.tensor) IS
'The numbers as an array of the tensor''s shape, rank 1 to 6; converted like as_dtype(value, ''float64''). An empty tensor becomes an empty array.';
CREATE FUNCTION delc.to_smallint_array(delc.tensor) RETURNS smallint[]
    AS 'MODULE_PATHNAME', 'delc_tensor_to_smallint_array' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.to_smallint_array(delc.tensor) IS
'The numbers as an array of the tensor''s shape, rank 1 to 6; converted like as_dtype(value, ''int16''). An empty tensor becomes an empty array.';
CREATE FUNCTION delc.to_integer_array(delc.tensor) RETURNS integer[]
    AS 'MODULE_PATHNAME', 'delc_tensor_to_integer_array' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.to_integer_array(delc.tensor) IS
'The numbers as an array of the tensor''s shape, rank 1 to 6; converted like as_dtype(value, ''int32''). An empty tensor becomes an empty array.';
CREATE FUNCTION delc.to_bigint_array(delc.tensor) RETURNS bigint[]
    AS 'MODULE_PATHNAME', 'delc_tensor_to_bigint_array' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.to_bigint_array(delc.tensor) IS
'The numbers as an array of the tensor''s shape, rank 1 to 6; converted like as_dtype(value, ''int64''). An empty tensor becomes an empty array.';
CREATE FUNCTION delc.to_boolean_array(delc.tensor) RETURNS boolean[]
    AS 'MODULE_PATHNAME', 'delc_tensor_to_boolean_array' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.to_boolean_array(delc.tensor) IS
'The elements as an array of the tensor''s shape, rank 1 to 6: true for all but zero. An empty tensor becomes an empty array.';
CREATE FUNCTION delc.to_vector(delc.tensor) RETURNS vector
    AS 'MODULE_PATHNAME', 'delc_tensor_to_vector' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.to_vector(delc.tensor) IS
'The numbers as a vector: rank 1, 1 to 16000 elements, all finite; converted like as_dtype(value, ''float32'').';

CREATE CAST (delc.tensor AS real[]) WITH FUNCTION delc.to_real_array(delc.tensor) AS ASSIGNMENT;
CREATE CAST (delc.tensor AS double precision[]) WITH FUNCTION delc.to_double_array(delc.tensor) AS ASSIGNMENT;
CREATE CAST (delc.tensor AS smallint[]) WITH FUNCTION delc.to_smallint_array(delc.tensor) AS ASSIGNMENT;
CREATE CAST (delc.tensor AS integer[]) WITH FUNCTION delc.to_integer_array(delc.tensor) AS ASSIGNMENT;
CREATE CAST (delc.tensor AS bigint[]) WITH FUNCTION delc.to_bigint_array(delc.tensor) AS ASSIGNMENT;
CREATE CAST (delc.tensor AS boolean[]) WITH FUNCTION delc.to_boolean_array(delc.tensor) AS ASSIGNMENT;
CREATE CAST (delc.tensor AS vector) WITH FUNCTION delc.to_vector(delc.tensor) AS ASSIGNMENT;
COMMENT ON CAST (delc.tensor AS real[]) IS 'Rank 1 to 6; numbers beyond the range of real are an error.';
COMMENT ON CAST (delc.tensor AS double precision[]) IS 'Rank 1 to 6; int64 is rounded to the nearest double precision.';
COMMENT ON CAST (delc.tensor AS smallint[]) IS 'Rank 1 to 6; floats are rounded, numbers out of range are an error.';
COMMENT ON CAST (delc.tensor AS integer[]) IS 'Rank 1 to 6; floats are rounded, numbers out of range are an error.';
COMMENT ON CAST (delc.tensor AS bigint[]) IS 'Rank 1 to 6; floats are rounded, numbers out of range are an error.';
COMMENT ON CAST (delc.tensor AS boolean[]) IS 'Rank 1 to 6; true for all but zero.';
COMMENT ON CAST (delc.tensor AS vector) IS 'Rank 1, 1 to 16000 finite elements, as real.';
