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
'Binary output of tensor. All numbers little-endian: bytes DE 1C, wire version 1, dtype code (1 float64, 2 float32, 3 float16, 4 bfloat16, 5 int64, 6 int32, 7 int16, 8 int8, 9 uint8, 10 bool), rank, 1 for a delta or else 0, two zero bytes; then one int64 per dimension; then the numbers, dense and row-major, or the stored bytes of the delta.';

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
'Dense numbers of one dtype (float64, float32, float16, bfloat16, int64, int32, int16, int8, uint8, bool) with a shape of rank 0 to 8; dimensions may be 0. At most 128 MiB of numbers. Reads like float32[2,3]{{1,2.5,NaN},{-0,Infinity,1e-45}}; more than 256 elements are written as base64 of the stored value, as exact. Input also takes braces or brackets alone, as float32: {{1,2},{3,4}}. Stored as byte planes, most significant first, each raw or compressed, so that reading the first planes does not read the rest. Values made by delc.tensor_delta are deltas: differences from another tensor, which can be kept, copied and dumped like any value, and are read by delc.apply_delta and delc.restore alone.';

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

CREATE FUNCTION delc.plane_info(value delc.tensor, OUT plane integer, OUT encoding text, OUT stored bigint, OUT raw bigint, OUT bits integer)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'delc_tensor_plane_info' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 4;
COMMENT ON FUNCTION delc.plane_info(delc.tensor) IS
'A row per plane, most significant first (plane 1): its encoding (raw, zstd, constant: one byte stands for all, or what compress chose: rans, rows, table), bytes stored, bytes raw, and bits of each element that it holds: 8, or 4 below the first where compress was asked for halves. Reads the header only.';

CREATE FUNCTION delc.planes(value delc.tensor, planes integer) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_tensor_planes' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.planes(delc.tensor, integer) IS
'The tensor with only the given number of planes, the high-order bytes of each element; the bytes below are zero. Of a tensor compressed with halves each plane below the first is half a byte: planes 1 is 8 bits of each element, 2 is 12, 3 is 16. Reads only the TOAST chunks of those planes. planes is 1 or more; the whole tensor where it has no more.';

-- The same numbers, smaller.

CREATE FUNCTION delc.compress(value delc.tensor, halves boolean DEFAULT false) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_tensor_compressed' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.compress(delc.tensor, boolean) IS
'The same tensor, bit for bit, stored as small as it gets: each plane by an entropy coder in the context of the planes above it, as packed rows where their numbers end in zero bits, as a table where there are at most 256 different numbers, with zstd, or raw. Slower to write than what other functions give, as fast to read. halves: planes of half a byte below the first, so that planes(value, n) can read the numbers in finer steps. Every function takes the result like any tensor; what they return is in the ordinary encoding.';

CREATE FUNCTION delc.checksum(value delc.tensor) RETURNS bigint
    AS 'MODULE_PATHNAME', 'delc_tensor_checksum' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.checksum(delc.tensor) IS
'CRC-32C, 0 to 4294967295, of the dtype code and the rank (a byte each, codes as in tensor_send), the dimensions (int64) and the dense row-major numbers, little-endian: the same however the tensor is encoded, and changed by any other bit, also between -0 and 0 and between NaNs.';

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

-- numpy files.

CREATE FUNCTION delc.from_npy(file bytea) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_tensor_from_npy' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.from_npy(bytea) IS
'The array in the bytes of a .npy file (numpy.save), format 1.0, 2.0 or 3.0, C or Fortran order, either byte order; dtypes b1, i1, i2, i4, i8, u1, f2, f4, f8, and V2 as bfloat16 (what ml_dtypes writes). The header is parsed, never evaluated.';

CREATE FUNCTION delc.to_npy(value delc.tensor) RETURNS bytea
    AS 'MODULE_PATHNAME', 'delc_tensor_to_npy' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.to_npy(delc.tensor) IS
'The bytes of a .npy file, format 1.0, C order, for numpy.load. bfloat16, which numpy lacks, is written as two raw bytes per element (dtype <V2, what ml_dtypes writes): read it with .view(ml_dtypes.bfloat16).';

-- Equality, order and hashing.

CREATE FUNCTION delc.tensor_eq(delc.tensor, delc.tensor) RETURNS boolean
    AS 'MODULE_PATHNAME', 'delc_tensor_eq' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_eq(delc.tensor, delc.tensor) IS 'Implementation of =.';
CREATE FUNCTION delc.tensor_ne(delc.tensor, delc.tensor) RETURNS boolean
    AS 'MODULE_PATHNAME', 'delc_tensor_ne' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_ne(delc.tensor, delc.tensor) IS 'Implementation of <>.';
CREATE FUNCTION delc.tensor_lt(delc.tensor, delc.tensor) RETURNS boolean
    AS 'MODULE_PATHNAME', 'delc_tensor_lt' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_lt(delc.tensor, delc.tensor) IS 'Implementation of <.';
CREATE FUNCTION delc.tensor_le(delc.tensor, delc.tensor) RETURNS boolean
    AS 'MODULE_PATHNAME', 'delc_tensor_le' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_le(delc.tensor, delc.tensor) IS 'Implementation of <=.';
CREATE FUNCTION delc.tensor_ge(delc.tensor, delc.tensor) RETURNS boolean
    AS 'MODULE_PATHNAME', 'delc_tensor_ge' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_ge(delc.tensor, delc.tensor) IS 'Implementation of >=.';
CREATE FUNCTION delc.tensor_gt(delc.tensor, delc.tensor) RETURNS boolean
    AS 'MODULE_PATHNAME', 'delc_tensor_gt' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_gt(delc.tensor, delc.tensor) IS 'Implementation of >.';
CREATE FUNCTION delc.tensor_cmp(delc.tensor, delc.tensor) RETURNS integer
    AS 'MODULE_PATHNAME', 'delc_tensor_cmp' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_cmp(delc.tensor, delc.tensor) IS 'Order of two tensors for sorting: negative, 0 or positive.';
CREATE FUNCTION delc.tensor_hash(delc.tensor) RETURNS integer
    AS 'MODULE_PATHNAME', 'delc_tensor_hash' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_hash(delc.tensor) IS 'Hash of dtype, shape and numbers.';
CREATE FUNCTION delc.tensor_hash_extended(delc.tensor, bigint) RETURNS bigint
    AS 'MODULE_PATHNAME', 'delc_tensor_hash_extended' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_hash_extended(delc.tensor, bigint) IS 'Hash of dtype, shape and numbers with 64 bits and a seed.';

CREATE OPERATOR delc.= (
    LEFTARG = delc.tensor, RIGHTARG = delc.tensor, FUNCTION = delc.tensor_eq,
    COMMUTATOR = OPERATOR(delc.=), NEGATOR = OPERATOR(delc.<>),
    RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR delc.= (delc.tensor, delc.tensor) IS
'Equal dtype, shape and bits of all numbers: NaN equals a NaN of the same payload, -0 differs from 0, float32 differs from float64.';
CREATE OPERATOR delc.<> (
    LEFTARG = delc.tensor, RIGHTARG = delc.tensor, FUNCTION = delc.tensor_ne,
    COMMUTATOR = OPERATOR(delc.<>), NEGATOR = OPERATOR(delc.=),
    RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR delc.<> (delc.tensor, delc.tensor) IS 'Different dtype, shape or bits of any number.';
CREATE OPERATOR delc.< (
    LEFTARG = delc.tensor, RIGHTARG = delc.tensor, FUNCTION = delc.tensor_lt,
    COMMUTATOR = OPERATOR(delc.>), NEGATOR = OPERATOR(delc.>=),
    RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR delc.< (delc.tensor, delc.tensor) IS
'Before in the order for sorting: by dtype, rank, dimensions, bytes. It has no numeric meaning.';
CREATE OPERATOR delc.<= (
    LEFTARG = delc.tensor, RIGHTARG = delc.tensor, FUNCTION = delc.tensor_le,
    COMMUTATOR = OPERATOR(delc.>=), NEGATOR = OPERATOR(delc.>),
    RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR delc.<= (delc.tensor, delc.tensor) IS
'Before or equal in the order for sorting: by dtype, rank, dimensions, bytes. It has no numeric meaning.';
CREATE OPERATOR delc.>= (
    LEFTARG = delc.tensor, RIGHTARG = delc.tensor, FUNCTION = delc.tensor_ge,
    COMMUTATOR = OPERATOR(delc.<=), NEGATOR = OPERATOR(delc.<),
    RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR delc.>= (delc.tensor, delc.tensor) IS
'After or equal in the order for sorting: by dtype, rank, dimensions, bytes. It has no numeric meaning.';
CREATE OPERATOR delc.> (
    LEFTARG = delc.tensor, RIGHTARG = delc.tensor, FUNCTION = delc.tensor_gt,
    COMMUTATOR = OPERATOR(delc.<), NEGATOR = OPERATOR(delc.<=),
    RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR delc.> (delc.tensor, delc.tensor) IS
'After in the order for sorting: by dtype, rank, dimensions, bytes. It has no numeric meaning.';

CREATE OPERATOR FAMILY delc.tensor_ops USING btree;
COMMENT ON OPERATOR FAMILY delc.tensor_ops USING btree IS 'Order of tensors for DISTINCT, GROUP BY and unique indexes.';
CREATE OPERATOR CLASS delc.tensor_ops DEFAULT FOR TYPE delc.tensor USING btree FAMILY delc.tensor_ops AS
    OPERATOR 1 delc.<, OPERATOR 2 delc.<=, OPERATOR 3 delc.=, OPERATOR 4 delc.>=, OPERATOR 5 delc.>,
    FUNCTION 1 delc.tensor_cmp(delc.tensor, delc.tensor);
COMMENT ON OPERATOR CLASS delc.tensor_ops USING btree IS 'Order of tensors for DISTINCT, GROUP BY and unique indexes.';
CREATE OPERATOR FAMILY delc.tensor_ops USING hash;
COMMENT ON OPERATOR FAMILY delc.tensor_ops USING hash IS 'Equality of tensors for hash joins and aggregates.';
CREATE OPERATOR CLASS delc.tensor_ops DEFAULT FOR TYPE delc.tensor USING hash FAMILY delc.tensor_ops AS
    OPERATOR 1 delc.=,
    FUNCTION 1 delc.tensor_hash(delc.tensor),
    FUNCTION 2 delc.tensor_hash_extended(delc.tensor, bigint);
COMMENT ON OPERATOR CLASS delc.tensor_ops USING hash IS 'Equality of tensors for hash joins and aggregates.';

-- Arithmetic.

CREATE FUNCTION delc.tensor_add(delc.tensor, delc.tensor) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_tensor_add' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_add(delc.tensor, delc.tensor) IS 'Implementation of tensor + tensor.';
CREATE FUNCTION delc.tensor_add(delc.tensor, double precision) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_tensor_add_scalar' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_add(delc.tensor, double precision) IS 'Implementation of tensor + number.';
CREATE FUNCTION delc.tensor_add(double precision, delc.tensor) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_scalar_add_tensor' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_add(double precision, delc.tensor) IS 'Implementation of number + tensor.';
CREATE FUNCTION delc.tensor_subtract(delc.tensor, delc.tensor) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_tensor_subtract' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_subtract(delc.tensor, delc.tensor) IS 'Implementation of tensor - tensor.';
CREATE FUNCTION delc.tensor_subtract(delc.tensor, double precision) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_tensor_subtract_scalar' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_subtract(delc.tensor, double precision) IS 'Implementation of tensor - number.';
CREATE FUNCTION delc.tensor_subtract(double precision, delc.tensor) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_scalar_subtract_tensor' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_subtract(double precision, delc.tensor) IS 'Implementation of number - tensor.';
CREATE FUNCTION delc.tensor_multiply(delc.tensor, delc.tensor) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_tensor_multiply' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_multiply(delc.tensor, delc.tensor) IS 'Implementation of tensor * tensor.';
CREATE FUNCTION delc.tensor_multiply(delc.tensor, double precision) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_tensor_multiply_scalar' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_multiply(delc.tensor, double precision) IS 'Implementation of tensor * number.';
CREATE FUNCTION delc.tensor_multiply(double precision, delc.tensor) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_scalar_multiply_tensor' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_multiply(double precision, delc.tensor) IS 'Implementation of number * tensor.';

CREATE OPERATOR delc.+ (LEFTARG = delc.tensor, RIGHTARG = delc.tensor, FUNCTION = delc.tensor_add, COMMUTATOR = OPERATOR(delc.+));
COMMENT ON OPERATOR delc.+ (delc.tensor, delc.tensor) IS
'Element-wise sum of tensors of the same dtype and shape. Floats by IEEE 754, float16 and bfloat16 computed in float32; integer overflow is an error; bool has no arithmetic.';
CREATE OPERATOR delc.+ (LEFTARG = delc.tensor, RIGHTARG = double precision, FUNCTION = delc.tensor_add, COMMUTATOR = OPERATOR(delc.+));
COMMENT ON OPERATOR delc.+ (delc.tensor, double precision) IS
'Adds a number to each element; the dtype stays. The number is rounded to float32 beside floats smaller than float64; beside integers it must be whole.';
CREATE OPERATOR delc.+ (LEFTARG = double precision, RIGHTARG = delc.tensor, FUNCTION = delc.tensor_add, COMMUTATOR = OPERATOR(delc.+));
COMMENT ON OPERATOR delc.+ (double precision, delc.tensor) IS
'Adds a number to each element; the dtype stays. The number is rounded to float32 beside floats smaller than float64; beside integers it must be whole.';
CREATE OPERATOR delc.- (LEFTARG = delc.tensor, RIGHTARG = delc.tensor, FUNCTION = delc.tensor_subtract);
COMMENT ON OPERATOR delc.- (delc.tensor, delc.tensor) IS
'Element-wise difference of tensors of the same dtype and shape. Floats by IEEE 754, float16 and bfloat16 computed in float32; integer overflow is an error; bool has no arithmetic.';
CREATE OPERATOR delc.- (LEFTARG = delc.tensor, RIGHTARG = double precision, FUNCTION = delc.tensor_subtract);
COMMENT ON OPERATOR delc.- (delc.tensor, double precision) IS
'Subtracts a number from each element; the dtype stays. The number is rounded to float32 beside floats smaller than float64; beside integers it must be whole.';
CREATE OPERATOR delc.- (LEFTARG = double precision, RIGHTARG = delc.tensor, FUNCTION = delc.tensor_subtract);
COMMENT ON OPERATOR delc.- (double precision, delc.tensor) IS
'Subtracts each element from a number; the dtype stays. The number is rounded to float32 beside floats smaller than float64; beside integers it must be whole.';
CREATE OPERATOR delc.* (LEFTARG = delc.tensor, RIGHTARG = delc.tensor, FUNCTION = delc.tensor_multiply, COMMUTATOR = OPERATOR(delc.*));
COMMENT ON OPERATOR delc.* (delc.tensor, delc.tensor) IS
'Element-wise product of tensors of the same dtype and shape. Floats by IEEE 754, float16 and bfloat16 computed in float32; integer overflow is an error; bool has no arithmetic.';
CREATE OPERATOR delc.* (LEFTARG = delc.tensor, RIGHTARG = double precision, FUNCTION = delc.tensor_multiply, COMMUTATOR = OPERATOR(delc.*));
COMMENT ON OPERATOR delc.* (delc.tensor, double precision) IS
'Multiplies each element by a number; the dtype stays. The number is rounded to float32 beside floats smaller than float64; beside integers it must be whole.';
CREATE OPERATOR delc.* (LEFTARG = double precision, RIGHTARG = delc.tensor, FUNCTION = delc.tensor_multiply, COMMUTATOR = OPERATOR(delc.*));
COMMENT ON OPERATOR delc.* (double precision, delc.tensor) IS
'Multiplies each element by a number; the dtype stays. The number is rounded to float32 beside floats smaller than float64; beside integers it must be whole.';

-- Aggregates. The states live in C (internal) and travel between parallel workers as bytea.

CREATE FUNCTION delc.tensor_sum_step(internal, delc.tensor) RETURNS internal
    AS 'MODULE_PATHNAME', 'delc_tensor_sum_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_sum_step(internal, delc.tensor) IS 'Transition of sum(tensor).';
CREATE FUNCTION delc.tensor_mean_step(internal, delc.tensor) RETURNS internal
    AS 'MODULE_PATHNAME', 'delc_tensor_mean_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_mean_step(internal, delc.tensor) IS 'Transition of avg(tensor).';
CREATE FUNCTION delc.tensor_weighted_mean_step(internal, delc.tensor, double precision) RETURNS internal
    AS 'MODULE_PATHNAME', 'delc_tensor_weighted_mean_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_weighted_mean_step(internal, delc.tensor, double precision) IS 'Transition of avg(tensor, weight).';
CREATE FUNCTION delc.tensor_sum_combine(internal, internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'delc_tensor_sum_combine' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_sum_combine(internal, internal) IS 'Combines two states of sum or avg of tensors.';
CREATE FUNCTION delc.tensor_sum_serialize(internal) RETURNS bytea
    AS 'MODULE_PATHNAME', 'delc_tensor_sum_serialize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_sum_serialize(internal) IS 'A state of sum or avg of tensors as bytes.';
CREATE FUNCTION delc.tensor_sum_deserialize(bytea, internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'delc_tensor_sum_deserialize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_sum_deserialize(bytea, internal) IS 'A state of sum or avg of tensors from bytes.';
CREATE FUNCTION delc.tensor_sum_final(internal) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_tensor_sum_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_sum_final(internal) IS 'Result of sum(tensor).';
CREATE FUNCTION delc.tensor_mean_final(internal) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_tensor_mean_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_mean_final(internal) IS 'Result of avg(tensor) and avg(tensor, weight).';
CREATE FUNCTION delc.tensor_stack_step(internal, delc.tensor) RETURNS internal
    AS 'MODULE_PATHNAME', 'delc_tensor_stack_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_stack_step(internal, delc.tensor) IS 'Transition of stack(tensor).';
CREATE FUNCTION delc.tensor_stack_final(internal) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_tensor_stack_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_stack_final(internal) IS 'Result of stack(tensor).';

CREATE AGGREGATE delc.sum(delc.tensor) (
    SFUNC = delc.tensor_sum_step, STYPE = internal, FINALFUNC = delc.tensor_sum_final,
    COMBINEFUNC = delc.tensor_sum_combine, SERIALFUNC = delc.tensor_sum_serialize,
    DESERIALFUNC = delc.tensor_sum_deserialize, PARALLEL = SAFE
);
COMMENT ON AGGREGATE delc.sum(delc.tensor) IS
'Element-wise sum of tensors of the same dtype and shape. Floats are added in double precision; float64 gives float64, the smaller floats float32, integers and bool int64 with overflow an error. NULLs are left out; NULL for no rows.';
CREATE AGGREGATE delc.avg(delc.tensor) (
    SFUNC = delc.tensor_mean_step, STYPE = internal, FINALFUNC = delc.tensor_mean_final,
    COMBINEFUNC = delc.tensor_sum_combine, SERIALFUNC = delc.tensor_sum_serialize,
    DESERIALFUNC = delc.tensor_sum_deserialize, PARALLEL = SAFE
);
COMMENT ON AGGREGATE delc.avg(delc.tensor) IS
'Element-wise mean of tensors of the same dtype and shape, computed in double precision; float64 for float64, integers and bool, float32 for the smaller floats. NULLs are left out; NULL for no rows.';
CREATE AGGREGATE delc.avg(delc.tensor, double precision) (
    SFUNC = delc.tensor_weighted_mean_step, STYPE = internal, FINALFUNC = delc.tensor_mean_final,
    COMBINEFUNC = delc.tensor_sum_combine, SERIALFUNC = delc.tensor_sum_serialize,
    DESERIALFUNC = delc.tensor_sum_deserialize, PARALLEL = SAFE
);
COMMENT ON AGGREGATE delc.avg(delc.tensor, double precision) IS
'Element-wise mean of tensors, each counted with its weight: sum(weight * tensor) / sum(weight), as for federated averaging. Weights are finite and 0 or more; all 0 is an error. dtypes as for avg(tensor). Rows where either is NULL are left out; NULL for no rows.';
CREATE AGGREGATE delc.stack(delc.tensor) (
    SFUNC = delc.tensor_stack_step, STYPE = internal, FINALFUNC = delc.tensor_stack_final, PARALLEL = SAFE
);
COMMENT ON AGGREGATE delc.stack(delc.tensor) IS
'Stacks tensors of the same dtype and shape along a new first axis, in the order of the rows: use stack(value ORDER BY key). A NULL is an error; NULL for no rows. The result holds at most 128 MiB.';

-- Deltas: a tensor as its difference from another.

CREATE FUNCTION delc.tensor_delta(base delc.tensor, target delc.tensor, method text DEFAULT 'sub', grandbase delc.tensor DEFAULT NULL)
    RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_tensor_delta' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_delta(delc.tensor, delc.tensor, text, delc.tensor) IS
'What leads from base to target, two tensors of one dtype, as a value of type tensor that only delc.apply_delta and delc.restore read. No bit is lost. method sub (integer differences of the bit patterns in the order of the numbers) is the smallest; of planes (differences of each byte plane) the first planes can be read alone, for any number of deltas in a row; xor is there for comparison. grandbase, the base''s own base, lets sub continue the movement from it to the base where that pays; it is needed again to apply the delta if so. Where the shapes differ, what both have, the leading corner of every dimension, is a difference and the rest is whole. NULL if base, target or method is.';

CREATE FUNCTION delc.apply_delta(base delc.tensor, delta delc.tensor, grandbase delc.tensor DEFAULT NULL)
    RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_tensor_apply_delta' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION delc.apply_delta(delc.tensor, delc.tensor, delc.tensor) IS
'The tensor that a delta leads to from its base, bit for bit. Checksums tell another base, or a damaged delta, from the right one. grandbase is the one that the delta was made with, if any. NULL if base or delta is.';

CREATE FUNCTION delc.is_delta(value delc.tensor) RETURNS boolean
    AS 'MODULE_PATHNAME', 'delc_tensor_is_delta' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.is_delta(delc.tensor) IS
'Whether a value is a delta, made by delc.tensor_delta. Reads the header only.';

CREATE FUNCTION delc.encoded(value delc.tensor) RETURNS bytea
    AS 'MODULE_PATHNAME', 'delc_tensor_encoded' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delc.encoded(delc.tensor) IS
'A tensor or a delta as the bytes that are stored of it.';

CREATE FUNCTION delc.fetch_stored(set integer, value delc.tensor, planes integer) RETURNS integer
    AS 'MODULE_PATHNAME', 'delc_fetch_stored' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION delc.fetch_stored(integer, delc.tensor, integer) IS
'For the functions of delc: fetches of a stored value what its first planes need (NULL: all) into a set of the session, where it is decoded from; its place there.';

CREATE FUNCTION delc.restore_numbers_step(internal, integer, delc.tensor, integer) RETURNS internal
    AS 'MODULE_PATHNAME', 'delc_restore_numbers_step' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION delc.restore_numbers_step(internal, integer, delc.tensor, integer) IS 'Transition of restore_numbers.';
CREATE FUNCTION delc.restore_numbers_final(internal) RETURNS bigint
    AS 'MODULE_PATHNAME', 'delc_restore_numbers_final' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION delc.restore_numbers_final(internal) IS 'Result of restore_numbers.';
CREATE AGGREGATE delc.restore_numbers(integer, delc.tensor, integer) (
    SFUNC = delc.restore_numbers_step, STYPE = internal, FINALFUNC = delc.restore_numbers_final,
    FINALFUNC_MODIFY = READ_WRITE, PARALLEL = UNSAFE
);
COMMENT ON AGGREGATE delc.restore_numbers(integer, delc.tensor, integer) IS
'For the functions of delc: like restore(value, planes), into a set of the session, from which Python takes the numbers without a copy; how many values the chain has.';

CREATE FUNCTION delc.tensor_restore_step(internal, delc.tensor) RETURNS internal
    AS 'MODULE_PATHNAME', 'delc_tensor_restore_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_restore_step(internal, delc.tensor) IS 'Transition of restore(tensor).';
CREATE FUNCTION delc.tensor_restore_step(internal, delc.tensor, integer) RETURNS internal
    AS 'MODULE_PATHNAME', 'delc_tensor_restore_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_restore_step(internal, delc.tensor, integer) IS 'Transition of restore(tensor, planes).';
CREATE FUNCTION delc.tensor_restore_final(internal) RETURNS delc.tensor
    AS 'MODULE_PATHNAME', 'delc_tensor_restore_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION delc.tensor_restore_final(internal) IS 'Result of restore.';
CREATE AGGREGATE delc.restore(delc.tensor) (
    SFUNC = delc.tensor_restore_step, STYPE = internal, FINALFUNC = delc.tensor_restore_final,
    FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE delc.restore(delc.tensor) IS
'The last value of a chain: a whole tensor, a delta from it, a delta from what that leads to, and so on, in the order of the rows: use restore(value ORDER BY hop). Takes the memory of two tensors, however long the chain. A NULL is an error; NULL for no rows.';
CREATE AGGREGATE delc.restore(delc.tensor, integer) (
    SFUNC = delc.tensor_restore_step, STYPE = internal, FINALFUNC = delc.tensor_restore_final,
    FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE delc.restore(delc.tensor, integer) IS
'The first planes (bytes of each element, most significant first) of the last value of a chain of deltas of method planes or xor; the bytes below are zero. Reads only those planes of the stored values: use restore(value, 2 ORDER BY hop).';
